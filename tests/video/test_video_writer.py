"""VideoWriter and ImageFolderWriter: whole output or none."""

import av
import numpy as np
import pytest
from av.video.reformatter import Colorspace

from d2video.utils.errors import UserError
from d2video.video.image_writer import ImageFolderWriter
from d2video.video.video_reader import open_video
from d2video.video.video_writer import VideoWriter

COLOURS = np.array(
    [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [0, 0, 0], [200, 120, 40]], np.uint8
)


def colour_bars(height: int, width: int) -> np.ndarray:
    return np.broadcast_to(COLOURS.repeat(width // 6 + 1, 0)[:width], (height, width, 3)).copy()


def write_all(path, images) -> None:
    with VideoWriter(path, fps=25) as writer:
        for image in images:
            writer.write(image)


def test_round_trip(tmp_path):
    path = tmp_path / "new folder" / "bars.mp4"
    with VideoWriter(path, fps=30000 / 1001) as writer:
        for _ in range(12):
            writer.write(colour_bars(64, 96))
    video = open_video(path)
    frames = list(video)
    assert video.size == (64, 96)
    assert len(frames) == 12
    centres = frames[5].image[32, 8::17][:6]
    np.testing.assert_allclose(centres.astype(int), COLOURS.astype(int), atol=5)
    assert list(path.parent.iterdir()) == [path]
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.average_rate.as_integer_ratio() == (30000, 1001)
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert stream.codec_context.colorspace == Colorspace.ITU709
    # "faststart": the index lies before the data.
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


@pytest.mark.parametrize("fps", [25, 24000 / 1001, 12.5, 7])
def test_frames_keep_their_times(tmp_path, fps):
    """Also where they are far apart; regular ones are exact though the source had rounded them."""
    regular = (np.arange(12) / fps).tolist()
    uneven = [0, 0.05, 0.07, 5, 5.02, 5.02, 5.04, 30]  # one is repeated
    for times, expected, last, end in (
        (np.round(regular, 3), regular, round(1 / fps, 3), 12 / fps),
        (uneven, uneven, 0.7, 30.7),
        ([0], [0], None, 1 / fps),
    ):
        with VideoWriter(tmp_path / "a.mp4", fps) as writer:
            for time in times:
                writer.write(colour_bars(64, 96), time, last)
        with av.open(str(tmp_path / "a.mp4")) as container:
            stream = container.streams.video[0]
            got = [frame.time for frame in container.decode(stream)]
            np.testing.assert_allclose(got, expected, atol=1e-4 if times is uneven else 1e-9)
            assert all(np.diff(got) > 0)
            assert float(stream.duration * stream.time_base) == pytest.approx(end, abs=1e-4)


@pytest.mark.parametrize("size", [(63, 95), (64, 95), (63, 96), (1, 1)])
def test_odd_sizes_are_padded_to_even_ones(tmp_path, size):
    height, width = size
    with VideoWriter(tmp_path / "odd.mp4", fps=5) as writer:
        writer.write(np.full((height, width, 3), 200, np.uint8))
    (frame,) = open_video(tmp_path / "odd.mp4")
    assert frame.image.shape == (height + height % 2, width + width % 2, 3)
    assert np.abs(frame.image.astype(int) - 200).max() <= 3  # the padding repeats the edge


def test_nothing_is_left_after_an_exception(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_text("older file")

    def write_and_fail():
        with VideoWriter(path, fps=25) as writer:
            writer.write(colour_bars(64, 96))
            raise KeyError("stop")

    with pytest.raises(KeyError):
        write_and_fail()
    assert path.read_text() == "older file"
    assert list(tmp_path.iterdir()) == [path]


def test_the_file_appears_only_when_it_is_complete(tmp_path):
    with VideoWriter(tmp_path / "a.mp4", fps=25) as writer:
        writer.write(colour_bars(64, 96))
        assert not (tmp_path / "a.mp4").exists()
    assert (tmp_path / "a.mp4").exists()
    with pytest.raises(AssertionError):
        writer.write(colour_bars(64, 96))


def test_faults(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(UserError, match=r"must end in \.mp4"):
        VideoWriter(tmp_path / "a.avi", fps=25)
    with pytest.raises(UserError, match="frame rate"):
        VideoWriter(tmp_path / "a.mp4", fps=0)
    with pytest.raises(UserError, match="it is a folder"):
        VideoWriter(tmp_path / "folder.mp4", fps=25)
    with pytest.raises(UserError, match="cannot create the folder"):
        VideoWriter(tmp_path / "file" / "a.mp4", fps=25)
    with pytest.raises(UserError, match="no frames"), VideoWriter(tmp_path / "a.mp4", fps=25):
        pass
    images = [np.zeros((4, 6, 3), np.uint8), np.zeros((4, 8, 3), np.uint8)]
    with pytest.raises(UserError, match="8x4 pixels follows frames of 6x4"):
        write_all(tmp_path / "a.mp4", images)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.mp4"]


def test_full_disk_is_one_clear_line(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", refuse)
    with pytest.raises(UserError, match=r"a\.mp4: No space left on device"):
        write_all(tmp_path / "a.mp4", [colour_bars(64, 96)])
    assert not list(tmp_path.iterdir())


def test_image_folder(tmp_path):
    folder = tmp_path / "frames"
    with ImageFolderWriter(folder) as writer:
        for value in (0, 100, 200):
            writer.write(np.full((15, 21, 3), value, np.uint8))
        assert not folder.exists()
    assert [path.name for path in sorted(folder.iterdir())] == [
        "000000.jpg",
        "000001.jpg",
        "000002.jpg",
    ]
    values = [int(frame.image.mean().round()) for frame in open_video(folder)]
    np.testing.assert_allclose(values, [0, 100, 200], atol=1)

    with pytest.raises(UserError, match="new or empty folder"):
        ImageFolderWriter(folder)

    def write_and_fail():
        with ImageFolderWriter(tmp_path / "other") as writer:
            writer.write(np.zeros((4, 4, 3), np.uint8))
            raise KeyError("stop")

    with pytest.raises(KeyError):
        write_and_fail()
    assert list(tmp_path.iterdir()) == [folder]


def test_a_frame_an_hour(tmp_path):
    """The average rate of a file is below what its own fraction can state; its times are kept."""
    path = tmp_path / "a.mp4"
    with VideoWriter(path, fps=1 / 3600) as writer:
        for t in range(2):
            writer.write(np.zeros((32, 32, 3), np.uint8), 3600.0 * t, 3600.0)
    assert [frame.time for frame in open_video(path)] == [0.0, pytest.approx(3600)]
