"""Frames of videos, folders and arrays, read by OpenCV."""

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from d2video.utils.errors import UserError
from d2video.utils.natural_order import natural_key
from d2video.utils.sources import IMAGE_SUFFIXES

_DEFAULT_FPS = 25.0
# Containers that state the number of frames. OpenCV estimates that of others from the length, which may be
# that of the sound: so much may be missing there, in seconds.
_COUNTED_SUFFIXES = frozenset({".mp4", ".m4v", ".mov", ".avi"})
_UNCOUNTED = 0.5

Source = str | PathLike[str] | Iterable[np.ndarray]


@dataclass(frozen=True, eq=False)
class Frame:
    """A frame of a video, or an image.

    Attributes:
        index: 0 for the first one.
        time: seconds since the first frame.
        image: uint8 (H, W, 3), RGB.
        file_name: of an image that is not a frame of a video; None: of a video.
    """

    index: int
    time: float
    image: np.ndarray
    file_name: str | None = None


def is_image(source: Any) -> bool:
    return isinstance(source, str | PathLike) and Path(source).suffix.lower() in IMAGE_SUFFIXES


def read_image(image: str | PathLike[str] | np.ndarray) -> np.ndarray:
    """An image file, upright, or an array, as uint8 (H, W, 3), RGB.

    Raises:
        UserError: the file is missing or cannot be decoded, or the array has another form.
    """
    if not isinstance(image, str | PathLike):
        return check_frame("the image", image)
    if not Path(image).is_file():
        raise UserError(f"image file {image} does not exist")
    pixels = cv2.imread(str(image), cv2.IMREAD_COLOR)
    if pixels is None:
        raise UserError(f"cannot read image {image}: replace the file or leave it out")
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


def frames_of(source: Source, stop_at_damage: bool = False) -> Generator[Frame, None, None]:
    """The frames of a video file, of a folder of images (``2.png`` before ``10.png``), or of arrays.

    Args:
        stop_at_damage: end a video quietly where frames are missing, such as one that is cut off.

    Raises:
        UserError: it cannot be read, is empty, has fewer frames than it states, or its frames differ in size.
    """
    if not isinstance(source, str | PathLike):
        frames = _numbered(source, _DEFAULT_FPS)
        name = "the video"
    elif Path(source).is_dir():
        visible = (path for path in Path(source).iterdir() if path.name[0] != ".")
        paths = sorted(filter(is_image, visible), key=lambda path: natural_key(path.name))
        frames, name = _numbered(map(read_image, paths), _DEFAULT_FPS), str(source)
    else:
        frames, name = _decoded(source, stop_at_damage), str(source)
    size = None
    for frame in frames:
        height, width = check_frame(f"{name}: frame {frame.index}", frame.image).shape[:2]
        size = size or (height, width)
        if (height, width) != size:
            raise UserError(
                f"{name}: frame {frame.index} is {width}x{height} pixels, the first one "
                f"{size[1]}x{size[0]}; all frames of a video must have one size"
            )
        yield frame
    if size is None:
        raise UserError(f"{name} is empty; a video needs at least one frame")


def check_frame(where: str, image: Any) -> np.ndarray:
    """
    Raises:
        UserError: not a uint8 array (H, W, 3).
    """
    if not isinstance(image, np.ndarray):
        raise UserError(f"{where} is of type {type(image).__name__}; give arrays, RGB")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise UserError(
            f"{where} has shape {image.shape} and type {image.dtype}; expected (H,W,3) of uint8, RGB"
        )
    return image


def _numbered(images: Iterable[np.ndarray], fps: float) -> Iterator[Frame]:
    return (Frame(index, index / fps, image) for index, image in enumerate(images))


def _decoded(path: str | PathLike[str], stop_at_damage: bool) -> Iterator[Frame]:
    if not Path(path).is_file():
        raise UserError(f"video {path} does not exist")
    video = cv2.VideoCapture(str(path))
    try:
        if not video.isOpened():
            raise UserError(f"cannot read video {path}: OpenCV does not know its format")
        fps = video.get(cv2.CAP_PROP_FPS) or _DEFAULT_FPS
        index = 0
        while True:
            there, pixels = video.read()
            if not there:
                break
            yield Frame(index, index / fps, cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB))
            index += 1
        stated = round(video.get(cv2.CAP_PROP_FRAME_COUNT))
        is_counted = Path(path).suffix.lower() in _COUNTED_SUFFIXES
        if stated - index > (0 if is_counted else _UNCOUNTED * fps) and not stop_at_damage:
            raise UserError(
                f"video {path} ends after {index} of {stated} frames: it is cut off or damaged; repair it, "
                "or give --stop-at-damage (stop_at_damage=True) to keep what can be read"
            )
    finally:
        video.release()
