"""A file that is cut off shows no broken frame, and says that it is cut off."""

import numpy as np
import pytest

from d2video.utils.errors import BrokenFile, UserError
from d2video.video.video_file import VideoFile
from d2video.video.video_reader import open_video
from tests.helpers.video_files import CODINGS, LENGTH, WITHOUT_END, write_coded


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("coded")


def read(path, **options) -> tuple[list[np.ndarray], str]:
    """The frames up to the first error, and what it says."""
    images: list[np.ndarray] = []
    try:
        images.extend(frame.image for frame in open_video(path, prefetch=0, **options))
    except UserError as error:
        return images, str(error)
    return images, ""


@pytest.mark.parametrize("name", CODINGS)
def test_a_cut_file_is_told_and_shows_whole_frames(folder, caplog, name):
    path = write_coded(folder, name)
    whole, said = read(path)
    assert len(whole) == LENGTH
    assert not said + caplog.text
    numbers = {image.tobytes(): number for number, image in enumerate(whole)}
    data = path.read_bytes()
    cut = folder / f"cut_{name}"
    rng = np.random.default_rng(1)
    silent = 0
    for end in [*rng.integers(len(data) // 3, len(data), 13), len(data) - 12]:
        cut.write_bytes(data[:end])
        images, said = read(cut)
        assert len(images) <= LENGTH
        shown = [numbers.get(image.tobytes()) for image in images]
        if name in WITHOUT_END and not said and len(images) < LENGTH:
            silent += 1
            assert None not in shown[:-1]
        else:
            assert shown == list(range(len(images)))
        if said:
            assert f"cut_{name}" in said
            assert "\n" not in said
            if images:
                kept, said = read(cut, on_broken="stop")
                assert len(kept) == len(images)
                assert not said
    assert silent <= 3


@pytest.mark.parametrize("name", ["h264.ts", "bare.hevc", "anim.gif", "h264.mkv"])
def test_frames_by_their_time(folder, name):
    """The reader of single frames notices it where it comes to the end."""
    path = write_coded(folder, name)
    cut = folder / f"times_{name}"
    cut.write_bytes(path.read_bytes()[:-200])
    with VideoFile(cut) as video:
        assert video.read_frames_at([0.2])[0].time == pytest.approx(0.2)
        with pytest.raises(BrokenFile, match="it ends (in the middle|before)"):
            video.read_frames_at([video.duration + 1])


@pytest.mark.parametrize("name", ["h264.ts", "mpeg2.ts", "bare.h264", "mpeg1.mpg"])
def test_a_recording_that_begins_between_two_key_frames_is_whole(folder, name):
    data = write_coded(folder, name).read_bytes()
    path = folder / f"later_{name}"
    path.write_bytes(data[len(data) // 4 // 188 * 188 :])
    images, said = read(path)
    assert 8 < len(images) < LENGTH
    assert not said


@pytest.mark.parametrize("name", ["h264.ts", "hevc.ts", "mpeg2.ts"])
def test_what_is_missing_in_the_middle_is_told(folder, caplog, name):
    """As where a recorder missed packets: the decoder fills it in, and goes on."""
    data = write_coded(folder, name).read_bytes()
    middle = len(data) // 376 * 188
    path = folder / f"hole_{name}"
    path.write_bytes(data[:middle] + data[middle + 3 * 188 :])
    images, said = read(path)
    assert len(images) > LENGTH // 2
    assert not said
    assert f"hole_{name} lacks data in between (1x)" in caplog.text
