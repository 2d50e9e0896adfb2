"""Where the frames of labels are found, and in which order."""

import os
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from d2video.fetching import unpack
from d2video.formats.labels.footage import find_footage, number_images, read_footage
from d2video.utils.errors import BrokenFile, UserError
from d2video.video.frame_names import frame_name
from tests.video.test_video_reader import HEIGHT, WIDTH, make_frames, write_mp4


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return write_mp4(tmp_path_factory.mktemp("footage") / "clip.mp4", make_frames(4))


def put_images(folder, *names, size=(WIDTH, HEIGHT)):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.new("RGB", size).save(folder / name)
    return folder


def stems(footage):
    return [Path(frame).stem for frame in footage.frames]


def test_images_in_natural_order_without_what_is_none(tmp_path):
    folder = put_images(tmp_path / "images", "10.jpg", "9.JPG", "f2.png", ".8.jpg", "f10.png")
    (folder / "7.jpg").mkdir()
    (folder / "6.txt").touch()
    footage = read_footage(str(folder))
    assert stems(footage) == ["9", "10", "f2", "f10"]
    assert footage.size == (HEIGHT, WIDTH)
    assert not footage.is_video_file
    assert footage.by_stem()["9"] == str(folder / "9.JPG")


def test_a_video_file(video):
    footage = read_footage(str(video))
    assert footage.frames == [frame_name(str(video), number) for number in range(4)]
    assert footage.size == (HEIGHT, WIDTH)
    assert footage.is_video_file
    with pytest.raises(UserError, match=r"job labels frames of 32x48 .*clip\.mp4 has 64x48: give"):
        footage.check_size((HEIGHT, 32), "job")


@pytest.mark.parametrize("name", ["clip", "clip.mp4", "clip.avi", "deep/clip", "deep/clip.mov"])
@pytest.mark.parametrize("there", ["clip.mp4", "clip.MP4", "clip"])
def test_a_video_or_the_folder_of_its_frames(tmp_path, video, name, there):
    place = tmp_path / os.path.dirname(name) / there
    if there == "clip":
        put_images(place, "000000.jpg")
    else:
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(video.read_bytes())
    (tmp_path / "other.mp4").touch()
    for image_root in (None, str(tmp_path)):
        folder = str(tmp_path) if image_root is None else "nowhere"
        footage = find_footage("labels", folder, ["missing", name], image_root)
        assert footage.path == str(place)


@pytest.mark.parametrize("there", ["clip.mp4", "job/images", "images"])
def test_frames_beside_an_archive(tmp_path, video, there, monkeypatch):
    monkeypatch.setenv("FVCORE_CACHE", str(tmp_path / "cache"))
    with zipfile.ZipFile(tmp_path / "job.zip", "w") as archive:
        archive.writestr("annotations.xml", "")
    folder = str(unpack(tmp_path / "job.zip"))
    with pytest.raises(UserError, match=r"not in .*/job\.zip or beside it \(looked for images"):
        find_footage("labels", folder, ["images", "clip.mp4"], None)
    if there == "clip.mp4":
        (tmp_path / there).write_bytes(video.read_bytes())
    else:
        put_images(tmp_path / there, "1.png")
    found = find_footage("labels", folder, ["images", "clip.mp4"], None)
    assert found.path == str(tmp_path / there)


def test_masks_are_not_their_own_frames(tmp_path):
    masks = put_images(tmp_path / "clip", "1.png")
    with pytest.raises(UserError, match=r"the frames are not in .* \(looked for clip\.mp4\)"):
        find_footage(str(masks), str(tmp_path), ["clip.mp4"], None)


def test_image_root_is_the_frames_themselves(tmp_path, video):
    folder = put_images(tmp_path / "some", "1.png")
    assert find_footage("labels", "nowhere", ["clip"], str(folder)).path == str(folder)
    assert find_footage("labels", "nowhere", ["other"], str(video)).path == str(video)
    for root, said in (
        (folder, "the frames are not in"),
        (video, "labels several videos, and image_root"),
    ):
        with pytest.raises(UserError, match=said):
            find_footage("labels", "nowhere", ["other"], str(root), is_only=False)


def test_mistakes(tmp_path, video):
    for name in ("clip.mp4", "clip.mkv"):
        (tmp_path / name).write_bytes(video.read_bytes())
    with pytest.raises(
        UserError, match=r"clip\.mkv and .*clip\.mp4 may both be the video clip: take"
    ):
        find_footage("labels", str(tmp_path), ["clip"], None)
    with pytest.raises(UserError, match=r"labels: the frames are not in .*looked for a, b"):
        find_footage("labels", str(tmp_path), ["a", "b"], None)
    (tmp_path / "clip.mp4").write_bytes(b"not a video")
    with pytest.raises(BrokenFile, match=r"clip\.mp4"):
        find_footage("labels", str(tmp_path), ["clip.mp4"], None)
    with pytest.raises(UserError, match="neither a folder of images nor a video"):
        read_footage(str(tmp_path / "none"))
    with pytest.raises(UserError, match="holds no image"):
        read_footage(str(tmp_path))


def test_numbers_of_images():
    paths = [Path(f"{name}.jpg") for name in ("000010", "2", "33")]
    assert number_images(paths) == {2: "2.jpg", 10: "000010.jpg", 33: "33.jpg"}
    assert number_images([Path("a.jpg"), Path("b.jpg")]) is None
    with pytest.raises(UserError, match=r"a\.jpg: name it by its frame's number"):
        number_images([Path("1.jpg"), Path("a.jpg")])
    with pytest.raises(UserError, match=r"both of frame 1"):
        number_images([Path("1.jpg"), Path("01.png")])


def test_thousands_of_videos_are_not_listed_for_each(tmp_path, video, monkeypatch):
    for number in range(60):
        os.link(video, tmp_path / f"sav_{number:06d}.mp4")
    listed = []
    for module, call in ((os, "listdir"), (os, "scandir")):
        original = getattr(module, call)
        monkeypatch.setattr(
            module, call, lambda path=".", original=original: listed.append(path) or original(path)
        )
    for number in range(60):
        find_footage("labels", str(tmp_path), [f"sav_{number:06d}"], None)
    assert not listed
