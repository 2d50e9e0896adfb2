"""Frames of a video file by their number, and names for them that stand where image files do.

Frame n is the one shown as the n-th, from 0, whatever the rate and the order of decoding: labelling
tools count so. ``video.mp4#frame=12`` names a frame.
"""

import os
import re
import threading
from collections.abc import Sequence

import numpy as np

from d2video.utils.errors import BrokenFile
from d2video.video.video_file import VideoFile

_NAME = re.compile(r"(.+)#frame=(\d{1,9})")
_OF_THREAD = threading.local()


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


class VideoFrames:
    """The frames of a video file by number.

    Attributes:
        path: of the file.
        times: (L,) seconds since the first frame at which each frame is shown, ascending.
        size: height and width in pixels, upright.

    Raises:
        BrokenFile: as :class:`~d2video.video.video_file.VideoFile`.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = str(path)
        self._video = VideoFile(path)
        self.size = self._video.size
        self.times: np.ndarray = self._video.frame_times()

    def __len__(self) -> int:
        return len(self.times)

    def read(self, numbers: Sequence[int]) -> list[np.ndarray]:
        """The frames of these numbers, in any order, uint8 (H,W,3), RGB.

        Raises:
            BrokenFile: the video has fewer frames, or one cannot be decoded.
        """
        for number in numbers:
            if not 0 <= number < len(self):
                raise BrokenFile(
                    f"video {self.path} has no frame {number}: it has {len(self)}; give the video that "
                    "was labelled"
                )
        return [frame.image for frame in self._video.read_frames_at(self.times[list(numbers)])]

    def close(self) -> None:
        """Give the decoder and the file back."""
        self._video.close()


def read_video_frame(path: str, number: int) -> np.ndarray:
    """A frame as uint8 (H,W,3), RGB; the decoder of the last file stays open for the next frame.

    Raises:
        BrokenFile: as :class:`VideoFrames`.
    """
    (image,) = _opened(path).read([number])
    return image


def _opened(path: str) -> VideoFrames:
    # Of this thread of this process: a forked process shares the place in the file.
    key = os.getpid(), path, os.stat(path).st_mtime_ns if os.path.exists(path) else 0
    if getattr(_OF_THREAD, "key", None) != key:
        _OF_THREAD.key = None
        _OF_THREAD.video = VideoFrames(path)
        _OF_THREAD.key = key
    return _OF_THREAD.video
