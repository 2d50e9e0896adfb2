"""Cameras: the newest frame, true times, and a clear end; OpenCV's device is a stand-in."""

import gc
import logging
import threading
import time

import cv2
import numpy as np
import pytest

from d2video.inference.predictor import VideoPredictor
from d2video.utils.errors import UserError
from d2video.video.video_reader import open_video
from tests.helpers.stub_video_model import StubTracker


class FakeCapture:
    """A device that shows frame 0, 1, 2 ... each as a picture of that red value.

    Class attributes are the device; ``read`` of frame i waits for ``gates[i]``, where there is one.
    """

    exists = True
    length = 8
    fps = 12.0
    gates: dict[int, threading.Event]
    opened: list["FakeCapture"]

    def __init__(self, number: int) -> None:
        self.number = number
        self.count = 0
        self.is_released = False
        type(self).opened.append(self)

    def isOpened(self) -> bool:
        return self.exists

    def get(self, key: int) -> float:
        assert key == cv2.CAP_PROP_FPS
        return self.fps

    def read(self):
        assert not self.is_released
        gate = self.gates.get(self.count)
        assert gate is None or gate.wait(10)
        if self.count >= self.length:
            return False, None
        image = np.zeros((4, 6, 3), np.uint8)
        image[..., 2] = self.count % 256  # blue, green, red
        self.count += 1
        return True, image

    def release(self) -> None:
        self.is_released = True


@pytest.fixture
def device(monkeypatch):
    monkeypatch.setattr(FakeCapture, "gates", {}, raising=False)
    monkeypatch.setattr(FakeCapture, "opened", [], raising=False)
    monkeypatch.setattr(cv2, "VideoCapture", FakeCapture)
    yield FakeCapture
    for gate in FakeCapture.gates.values():
        gate.set()


def in_step(device) -> None:
    """Let the device show a frame only when asked; frame 0 is what tells the size."""
    device.gates = {index: threading.Event() for index in range(1, device.length + 1)}


def wait_for(device, count: int) -> None:
    """Until the device has shown so many frames, and the reader's thread has them."""
    deadline = time.monotonic() + 10
    while device.opened[0].count < count:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(0.1)


def all_is_released(device) -> bool:
    gc.collect()
    names = [thread.name for thread in threading.enumerate()]
    return "d2video-live" not in names and all(each.is_released for each in device.opened)


@pytest.mark.parametrize("source", [3, "camera:3"])
def test_attributes(device, source):
    video = open_video(source, prefetch=5)
    assert (video.name, video.fps, video.size) == ("camera 3", 12.0, (4, 6))
    assert (video.estimated_length, video.prefetch, video.is_live) == (None, 0, True)
    assert [each.number for each in device.opened] == [3]
    assert not open_video([np.zeros((4, 6, 3), np.uint8)]).is_live


def test_frames_are_rgb_in_order_and_timed_by_the_clock(device):
    in_step(device)
    frames = iter(open_video(0, fps=50))
    for index in range(1, device.length):
        if index == 4:
            time.sleep(0.2)
        device.gates[index].set()
        frame = next(frames)
        assert frame.index == index - 1
        assert frame.image.dtype == np.uint8
        assert (frame.image == [index, 0, 0]).all()
        if index in (1, 4):
            assert frame.time == 0 if index == 1 else 0.2 <= frame.time < 5
    device.gates[device.length].set()
    with pytest.raises(UserError, match="camera 0 stopped after 7 frames"):
        next(frames)
    assert all_is_released(device)


def test_a_slow_reader_gets_the_newest_frame(device, caplog):
    device.gates = {5: threading.Event(), 8: threading.Event()}
    video = open_video(0, on_broken="stop")
    frames = iter(video)
    reds = [next(frames).image[0, 0, 0]]
    wait_for(device, 5)  # the device shows up to frame 4, then waits
    if reds != [4]:
        reds.append(next(frames).image[0, 0, 0])
    assert reds[-1] == 4
    device.gates[5].set()
    wait_for(device, 8)
    with caplog.at_level(logging.WARNING):
        frame = next(frames)
        assert frame.image[0, 0, 0] == 7
        assert frame.index == len(reds)  # numbered as given out
        device.gates[8].set()
        assert list(frames) == []
    assert f"{7 - len(reds) - 1} of 7 frames skipped" in caplog.text
    assert "camera 0 stopped after" in caplog.text
    assert all_is_released(device)


def test_stopping_early_releases_the_device_and_iterating_opens_it_anew(device, monkeypatch):
    monkeypatch.setattr(device, "length", 10**9)
    video = open_video(0)
    for _ in range(2):
        frames = iter(video)
        assert next(frames).index == 0
        frames.close()
        assert all_is_released(device)
    assert len(device.opened) == 2


def test_through_the_predictor(device):
    in_step(device)
    for gate in device.gates.values():
        gate.set()
    predictor = VideoPredictor(model=StubTracker(), min_size=0, max_size=0)
    frames = predictor("camera:0")
    first = next(frames)
    assert (first.index, first.image.shape) == (0, (4, 6, 3))
    frames.close()
    assert all_is_released(device)


def test_faults(device, monkeypatch):
    with pytest.raises(UserError, match="'camera:front' names no camera; .* camera:0"):
        open_video("camera:front")
    monkeypatch.setattr(device, "fps", 0.0)
    assert open_video(0).fps == 25
    assert open_video(0, fps=7).fps == 7
    monkeypatch.setattr(device, "length", 0)
    with pytest.raises(UserError, match="camera 0 gives no picture"):
        open_video(0)
    assert device.opened[-1].is_released
    monkeypatch.setattr(device, "exists", False)
    with pytest.raises(UserError, match="cannot open camera 2; check that it is connected"):
        open_video(2)


def test_a_device_that_changes_its_size_or_breaks(device, monkeypatch):
    heights = iter([4, 8])
    read = lambda self: (True, np.zeros((next(heights), 6, 3), np.uint8))  # noqa: E731
    monkeypatch.setattr(device, "read", read)
    with pytest.raises(UserError, match="frame 0 is 6x8 pixels, the first one 6x4"):
        list(open_video(0))
    assert all_is_released(device)

    heights = iter([4])
    video = open_video(0)

    def broken(self):
        raise cv2.error("no memory")

    monkeypatch.setattr(device, "read", broken)
    with pytest.raises(cv2.error, match="no memory"):
        list(video)
    assert all_is_released(device)
