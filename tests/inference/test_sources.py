"""What predictors are given: several videos, lists, patterns, arrays; and the window that shows them."""

import json
import os

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from d2video.inference import Images, Videos, annotate, open_source
from d2video.inference.output import default_outputs
from d2video.inference.predictor import Predictor
from d2video.utils.errors import UserError
from d2video.video import Frame, FrameSource, VideoWriter, open_video
from tests.helpers.loopback import serve
from tests.helpers.stub_video_model import StubRestorer, StubTracker

SIZE = (30, 40)


def picture(red: int, size=SIZE) -> np.ndarray:
    image = np.full((*size, 3), 255, np.uint8)
    image[0, 0] = red, 0, 0
    return image


@pytest.fixture
def folder(tmp_path):
    """Three videos of two frames, named so that their order is not that of the letters."""
    for name in ("v10.mp4", "v9.mp4", "v1.mp4"):
        with VideoWriter(tmp_path / name, fps=10) as writer:
            for _ in range(2):
                writer.write(picture(0))
    (tmp_path / "notes.md").write_text("no video")
    return tmp_path


def tracker() -> Predictor:
    return Predictor(model=StubTracker(), min_size=0, max_size=0)


def restorer() -> Predictor:
    return Predictor(model=StubRestorer(), min_size=0, max_size=0)


@pytest.mark.parametrize("form", ["pattern", "any pattern", "list", "folder", "deep pattern"])
def test_several_videos_come_one_after_another(folder, form):
    paths = [folder / name for name in ("v1.mp4", "v9.mp4", "v10.mp4")]
    source = {
        "pattern": f"{folder}/v*.mp4",
        "any pattern": folder / "*",
        "list": [str(path) for path in paths],
        "folder": folder,
        "deep pattern": f"{folder}/**/v*.mp4",
    }[form]
    frames = list(tracker()(source))
    assert [frame.source for frame in frames] == [str(path) for path in paths for _ in range(2)]
    assert [frame.index for frame in frames] == [0, 1] * 3
    assert [frame.instances.track_ids.item() for frame in frames] == [0] * 6  # begun anew
    with pytest.raises(UserError, match="is 3 videos; open one at a time"):
        open_video(source)


def test_files_of_several_videos(folder, tmp_path):
    source = open_source(f"{folder}/*.mp4", takes_images=False)
    assert isinstance(source, Videos)
    out, results, tracks = tmp_path / "out", tmp_path / "json", tmp_path / "mot"
    files = {"results": results, "mot_results": tracks}
    assert annotate(tracker(), source, out, results=files) == 6
    names = ["v1", "v10", "v9"]
    assert sorted(os.listdir(out)) == [".d2video", *(f"{name}.mp4" for name in names)]
    assert sorted(os.listdir(tracks)) == [".d2video", *(f"{name}.txt" for name in names)]
    for name in names:
        content = json.loads((results / f"{name}.json").read_text())
        assert (content["video"], content["num_frames"]) == (str(folder / f"{name}.mp4"), 2)
        assert len(list(open_video(out / f"{name}.mp4"))) == 2
    with pytest.raises(UserError, match=r"cannot write 3 videos to .*one\.mp4; give a folder"):
        annotate(tracker(), source, tmp_path / "one.mp4")
    with pytest.raises(UserError, match="v.*mp4 there is an input; give another"):
        annotate(tracker(), source, folder)


def test_a_text_file_lists_videos(folder, tmp_path):
    lists = tmp_path / "lists"
    lists.mkdir()
    text = f"\ufeff# videos\r\n../v9.mp4\r\n\r\n  {folder}/v1.mp4\r\n"
    (lists / "videos.TXT").write_text(text, "utf-8")
    source = open_source(lists / "videos.TXT", takes_images=True)
    assert isinstance(source, Videos)
    assert [os.path.realpath(each) for each in source.sources] == [
        f"{folder}/v9.mp4",
        f"{folder}/v1.mp4",
    ]
    assert len(list(tracker()(lists / "videos.TXT"))) == 4
    # None is looked at, and one video is several: the list may grow.
    (lists / "one.txt").write_text("http://a.invalid/x.mp4?key=1\n")
    source = open_source(lists / "one.txt", takes_images=True)
    assert source.sources == ["http://a.invalid/x.mp4?key=1"]
    (lists / "none.txt").write_text("#\n")
    with pytest.raises(UserError, match=r"none\.txt is empty: write the path of a video"):
        open_source(lists / "none.txt", takes_images=True)


def test_images_of_a_pattern_are_frames_or_images(tmp_path):
    for index, name in enumerate(["b2.png", "b10.png", "a.jpg"]):
        Image.fromarray(picture(index)).save(tmp_path / name)
    frames = list(tracker()(f"{tmp_path}/b*.png"))
    assert [(frame.file_name, frame.image[0, 0, 0]) for frame in frames] == [(None, 0), (None, 1)]
    assert {frame.source for frame in frames} == {f"{tmp_path}/b*.png"}
    frames = list(restorer()(f"{tmp_path}/*"))
    assert [frame.file_name for frame in frames] == ["a.jpg", "b2.png", "b10.png"]


def test_lists_of_images_of_any_size_and_kind(tmp_path):
    Image.fromarray(picture(1)).save(tmp_path / "one.png")
    wide = picture(2, (20, 50))
    opened = Image.open(tmp_path / "one.png")
    tensor = torch.from_numpy(wide)
    several = [str(tmp_path / "one.png"), wide, Image.fromarray(wide), opened, tensor]
    several.append(tensor.permute(2, 0, 1))
    frames = list(restorer()(several))
    names = ["000000_one.png", "000001.jpg", "000002.jpg", "000003_one.png"]
    names += ["000004.jpg", "000005.jpg"]
    assert [frame.file_name for frame in frames] == names
    assert [frame.image[0, 0, 0] for frame in frames] == [1, 2, 2, 1, 2, 2]
    assert [frame.restored.shape for frame in frames][:2] == [(60, 80, 3), (40, 100, 3)]
    source = open_source(several[1:3], takes_images=True)
    assert isinstance(source, Images)
    assert annotate(restorer(), source, tmp_path / "out") == 2
    assert sorted(os.listdir(tmp_path / "out")) == ["000000.png", "000001.png"]
    # To a model of videos a list is one video.
    with pytest.raises(UserError, match="frame 1 is 50x20 pixels, the first one 40x30"):
        list(tracker()([picture(1), wide]))


@pytest.mark.parametrize(
    "form", ["list", "array", "tensor", "channels first", "generator", "PIL", "tuple"]
)
def test_frames_in_memory(form):
    images = np.stack([picture(index) for index in range(3)])
    source = {
        "list": list(images),
        "array": images,
        "tensor": torch.from_numpy(images),
        "channels first": torch.from_numpy(images).permute(0, 3, 1, 2),
        "generator": (image for image in images),
        "PIL": [Image.fromarray(image) for image in images],
        "tuple": tuple(images),
    }[form]
    frames = list(tracker()(source))
    assert [frame.image[0, 0, 0] for frame in frames] == [0, 1, 2]
    assert [frame.file_name for frame in frames] == [None] * 3


@pytest.mark.parametrize("form", ["array", "PIL", "tensor", "path", "pathlib", "file address"])
def test_one_image(form, tmp_path):
    path = tmp_path / "one.png"
    Image.fromarray(picture(7)).save(path)
    source = {
        "array": picture(7),
        "PIL": Image.open(path),
        "tensor": torch.from_numpy(picture(7)).permute(2, 0, 1),
        "path": str(path),
        "pathlib": path,
        "file address": path.as_uri(),
    }[form]
    for predictor in (tracker(), restorer()):
        (frame,) = predictor(source)
        assert frame.image[0, 0, 0] == 7
        assert frame.file_name == ("000000.jpg" if form in ("array", "tensor") else "one.png")


def test_addresses(folder, tmp_path):
    video = (folder / "v1.mp4").read_bytes()
    Image.fromarray(picture(3)).save(tmp_path / "p.png")
    still = (tmp_path / "p.png").read_bytes()
    pages = {"/v.mp4": lambda h: h.send(video, "video/mp4")}
    pages["/p.png"] = pages["/snapshot"] = lambda h: h.send(still, "image/png")
    with serve(pages) as host:
        base = f"http://me:secret@{host}"
        assert [frame.index for frame in tracker()(f"{base}/v.mp4")] == [0, 1]
        (frame,) = restorer()(f"{base}/p.png?key=secret")
        assert (frame.file_name, frame.image[0, 0, 0]) == ("p.png", 3)
        for name, files in {
            "p.png?key=secret": ("p_annotated.png", None),
            "snapshot?key=secret": ("snapshot_annotated.png", None),
            "v.mp4?key=secret": ("v_annotated.mp4", None),
        }.items():
            source = open_source(f"{base}/{name}", takes_images=True)
            assert default_outputs(source, f"{base}/{name}", restorer().task) == files
        annotate(tracker(), source, results={"results": tmp_path / "r.json"})
        source = open_source(f"{base}/p.png", takes_images=True)
        annotate(restorer(), source, tmp_path / "large.png")
        both = tracker()([f"{base}/v.mp4", str(folder / "v1.mp4")])
        assert [frame.source for frame in both][1:3] == [
            f"http://{host}/v.mp4",
            str(folder / "v1.mp4"),
        ]
    text = (tmp_path / "r.json").read_text()
    assert json.loads(text)["video"] == f"http://{host}/v.mp4?..."
    assert "secret" not in text


def test_faults_are_one_line(folder, tmp_path):
    Image.fromarray(picture(1)).save(tmp_path / "one.png")
    empty = tmp_path / "empty"
    empty.mkdir()
    os.mkfifo(tmp_path / "pipe")
    for source, words in {
        str(tmp_path / "pipe"): "pipe is neither a file nor a folder",
        "/dev/null": "/dev/null is neither a file nor a folder",
        "": "'' does not exist",
        -1: "there is no camera -1",
        2**40: "there is no camera 1099511627776",
        b"a.mp4": "cannot read a video from b'a.mp4'",
        "nul\0.mp4": "does not exist",
        "none*.mp4": r"no file fits the pattern none\*\.mp4; give a video",
        str(folder / "*"): r"has images and videos, such as .*v1\.mp4; give one kind at a time",
        str(folder / "*.md"): r"notes\.md .*not a video",
        str(empty): "empty holds no image",
        (str(folder / "v1.mp4"), str(folder / "none.mp4")): r"none\.mp4 does not exist",
        (str(folder / "v1.mp4"), str(tmp_path / "one.png")): "the list has images and videos",
        (): "the list is empty",
        True: "cannot read a video from True",
        None: "cannot read a video from None",
    }.items():
        with pytest.raises(UserError, match=words) as caught:
            list(tracker()(list(source) if isinstance(source, tuple) else source))
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=r"float32; expected \(H,W,3\) of uint8"):
        list(tracker()(torch.zeros(2, 3, 30, 40)))


class Silent(FrameSource):
    """A live stream that gives three frames, then fails."""

    name, fps, size, estimated_length, is_live = "stream", 25.0, SIZE, None, True

    def _read(self):
        raise NotImplementedError

    def frames(self):
        for index in range(3):
            yield Frame(index, index / 25, picture(0))
        raise UserError("stream stopped after 3 frames; no data within 10 s")


@pytest.mark.parametrize("is_interrupted", [False, True])
def test_what_was_written_of_a_silent_stream_stays_after_ctrl_c(
    tmp_path, monkeypatch, is_interrupted
):
    from contextlib import nullcontext

    monkeypatch.setattr(
        "d2video.inference.output.stop_on_interrupt",
        # Asked after each frame, it is pressed while the next one is awaited.
        lambda: nullcontext(iter([False] * 3 + [is_interrupted] * 9).__next__),
    )
    if is_interrupted:
        assert annotate(tracker(), Silent(), tmp_path / "out.mp4") == 3
    else:
        with pytest.raises(UserError, match="stopped after 3"):
            annotate(tracker(), Silent(), tmp_path / "out.mp4")
    assert (tmp_path / "out.mp4").exists() == is_interrupted


class Screen:
    """OpenCV's windows. ``keys`` are pressed in turn; the window is closed before show ``closed_at``."""

    def __init__(self, monkeypatch, keys=(), closed_at=10**9) -> None:
        self.shown: list[np.ndarray] = []
        self.waits: list[int] = []
        self.titles: list[str] = []
        self.keys, self.closed_at, self.is_open = list(keys), closed_at, False
        for name in ("namedWindow", "resizeWindow", "imshow", "waitKey", "getWindowProperty"):
            monkeypatch.setattr(cv2, name, getattr(self, name))
        monkeypatch.setattr(cv2, "destroyWindow", self.destroyWindow)

    def namedWindow(self, title, flags=0) -> None:
        self.titles.append(title)
        self.is_open = True

    def resizeWindow(self, title, width, height) -> None:
        self.size = height, width

    def imshow(self, title, image) -> None:
        self.shown.append(image)

    def waitKey(self, milliseconds) -> int:
        self.waits.append(milliseconds)
        return ord(self.keys.pop(0)) if self.keys else -1

    def getWindowProperty(self, title, which) -> float:
        assert which == cv2.WND_PROP_VISIBLE
        return float(self.is_open and len(self.shown) < self.closed_at)

    def destroyWindow(self, title) -> None:
        self.is_open = False


def moving(length: int = 6) -> list[np.ndarray]:
    return [picture(index) for index in range(length)]


@pytest.mark.parametrize(
    ("keys", "closed_at", "expected"),
    [("", 99, 6), ("xyz", 99, 6), ("xq", 99, 2), ("\x1b", 99, 1), ("", 3, 3)],
)
def test_a_window_shows_frames_until_it_is_closed(monkeypatch, tmp_path, keys, closed_at, expected):
    screen = Screen(monkeypatch, keys, closed_at)
    options = {"labels": False, "line_width": 1}
    frames = list(tracker()(moving(), show=True, **options))
    assert len(frames) == len(screen.shown) == expected
    assert not screen.is_open or closed_at == expected
    draw = tracker().drawer(**options)
    for frame, shown in zip(frames, screen.shown, strict=True):
        np.testing.assert_array_equal(shown[..., ::-1], draw(frame))  # BGR
    assert set(screen.waits) == {1}
    assert screen.size == SIZE
    # The same for files, which keep what was shown.
    screen = Screen(monkeypatch, keys, closed_at)
    done = annotate(tracker(), open_video(moving()), tmp_path / "out.mp4", show=True)
    assert done == len(screen.shown) == expected
    assert len(list(open_video(tmp_path / "out.mp4"))) == expected


def test_leaving_early_closes_the_window(monkeypatch):
    screen = Screen(monkeypatch)
    frames = restorer()(moving(2), show=True)
    next(frames)
    assert screen.is_open
    assert screen.waits == [1000]  # an image, not a frame
    frames.close()
    assert not screen.is_open


class Untouched(StubTracker):
    def stream_video(self, frames, output_size):
        raise AssertionError("the model ran")


def test_without_windows_one_line_comes_before_the_model_runs(monkeypatch):
    def missing(*_) -> None:
        raise cv2.error("The function is not implemented. Rebuild the library with GTK+\nor so")

    monkeypatch.setattr(cv2, "namedWindow", missing)
    predictor = Predictor(model=Untouched(), min_size=0, max_size=0)
    calls = [
        lambda: predictor(moving(), show=True),
        lambda: annotate(predictor, open_video(moving()), show=True),
    ]
    for call in calls:
        with pytest.raises(
            UserError, match="opencv-python-headless has none.*pip install"
        ) as caught:
            call()
        assert "\n" not in str(caught.value)
    monkeypatch.setattr(cv2, "currentUIFramework", lambda: "QT5")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    with pytest.raises(UserError, match="no screen"):
        calls[0]()
    with pytest.raises(UserError, match="unknown drawing option 'colour'"):
        predictor(moving(), colour=1)
