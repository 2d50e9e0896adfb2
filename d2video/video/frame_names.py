"""Names for frames of video files, used in place of image paths: ``video.mp4#frame=12``."""

import os
import re
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from d2video.utils.file_state import file_key
from d2video.video.frame_index import frame_index
from d2video.video.image_io import Pixels, open_rgb, read_image_size
from d2video.video.video_frames import VideoFrames

_NAME = re.compile(r"(.+)#frame=(\d{1,9})")
# Decoders that stay open in a thread, so that samples of a few videos in turn need no new ones.
_MOST_OPEN = 4


def frame_name(path: str, number: int) -> str:
    """The name of a frame of a video file."""
    return f"{path}#frame={number}"


def split_frame_name(name: str) -> tuple[str, int] | None:
    """Path and number of what :func:`frame_name` gives; None for anything else, such as an image."""
    match = _NAME.fullmatch(name)
    return (match[1], int(match[2])) if match else None


def file_of_frame(name: str) -> str:
    """The file that holds a frame: the video file, or the image itself."""
    of_video = split_frame_name(name)
    return of_video[0] if of_video else name


def image_stem(name: str) -> str:
    """A name for files that belong to an image: without folder and suffix, or video and number."""
    place = split_frame_name(name)
    return Path(name).stem if place is None else f"{Path(place[0]).stem}_{place[1]:06d}"


def source_of_images(name: str) -> str:
    """The folder that holds an image, or the video file of a frame."""
    place = split_frame_name(name)
    return os.path.dirname(name) if place is None else place[0]


def read_images(names: Iterable[str]) -> dict[str, np.ndarray]:
    """As :func:`read_pixels`, uint8 (H,W,3)."""
    return {name: np.asarray(pixels) for name, pixels in read_pixels(names).items()}


def read_pixels(names: Iterable[str]) -> dict[str, Pixels]:
    """Image files and frames of video files, RGB, by name.

    The frames of one video are decoded in one pass. The decoders of the last videos stay open.

    Raises:
        BrokenFile: one cannot be read.
    """
    images: dict[str, Pixels] = {}
    frames: dict[str, dict[int, str]] = {}
    for name in dict.fromkeys(names):
        place = split_frame_name(name)
        if place is None:
            images[name] = open_rgb(name)
        else:
            path, number = place
            frames.setdefault(path, {})[number] = name
    for path, wanted in frames.items():
        images.update(zip(wanted.values(), _OPEN.video(path).read(wanted), strict=True))
    return images


def image_size(name: str) -> tuple[int, int]:
    """Height and width of what :func:`read_images` gives, without decoding it.

    Raises:
        BrokenFile: the file cannot be read.
    """
    place = split_frame_name(name)
    return read_image_size(name) if place is None else frame_index(place[0]).size


class _OpenVideos(threading.local):
    """Of this thread of this process: a forked process would share the place in the file."""

    def __init__(self) -> None:
        self._videos: dict[str, tuple[Any, VideoFrames]] = {}  # the latest one last

    def video(self, path: str) -> VideoFrames:
        """A video that is open, or is opened now."""
        state = os.getpid(), file_key(path)
        known, video = self._videos.pop(path, (None, None))
        if video is None or known != state:
            video = VideoFrames(path)
        self._videos[path] = state, video
        while len(self._videos) > _MOST_OPEN:
            _, oldest = self._videos.pop(next(iter(self._videos)))
            oldest.close()
        return video


_OPEN = _OpenVideos()
