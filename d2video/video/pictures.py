"""Pictures as frames: image files, arrays, tensors and PIL images."""

import logging
import os
from collections.abc import Iterable, Iterator, Sequence, Sized
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
from PIL import Image
from torch import Tensor

from d2video.utils.addresses import address_of, local_path
from d2video.utils.errors import UserError
from d2video.video.frame_source import DEFAULT_FPS, FrameSource, ReadFrame, check_frame
from d2video.video.image_io import IMAGE_SUFFIXES, is_still_image, number_in_name, read_rgb
from d2video.video.stream import open_address
from d2video.video.web import LocalCopy

logger = logging.getLogger(__name__)

Picture = np.ndarray | Tensor | Image.Image | str | os.PathLike[str]


def is_picture(source: Any) -> bool:
    """Whether a source is one picture, not a video: by the suffix, if it is the name of a file."""
    if isinstance(source, str | os.PathLike):
        address = address_of(source)
        if address is not None:
            return Path(urlsplit(address).path).suffix.lower() in IMAGE_SUFFIXES
        return os.path.isfile(local_path(source)) and is_still_image(local_path(source))
    return isinstance(source, Image.Image) or (
        isinstance(source, np.ndarray | Tensor) and source.ndim == 3
    )


def read_picture(picture: Any, where: str = "the array source", index: int = 0) -> np.ndarray:
    """A picture as uint8 (H,W,3), RGB.

    Args:
        picture: what :func:`check_frame` takes, or the path or address of an image.
        where, index: say which one it is, for messages.

    Raises:
        UserError: it cannot be read or is something else.
    """
    if not isinstance(picture, str | os.PathLike):
        return check_frame(where, index, picture)
    address = address_of(picture)
    if address is None:
        return read_rgb(local_path(picture))
    copy = open_address(address)
    if not isinstance(copy, LocalCopy):
        raise UserError(f"{copy.name} is not an image; give the address of an image file")
    return read_rgb(copy.path)


def picture_names(pictures: Sequence[Picture]) -> list[str]:
    """File names for pictures, all different: their own where they have one, else by number."""
    own = [own_name(picture) for picture in pictures]
    names = [name or f"{index:06d}.jpg" for index, name in enumerate(own)]
    if len({*names}) == len(names):
        return names
    return [f"{index:06d}{'_' if name else '.jpg'}{name}" for index, name in enumerate(own)]


def own_name(picture: Picture) -> str:
    """The name of the picture's file; "" if it has none."""
    if isinstance(picture, str | os.PathLike):
        address = address_of(picture)
        path = str(picture) if address is None else unquote(urlsplit(address).path)
        return path.rstrip("/").rpartition("/")[2]
    return Path(getattr(picture, "filename", None) or "").name


class PictureSource(FrameSource):
    """Pictures of one size, one a frame.

    Args:
        pictures: what :func:`read_picture` takes; an iterator is read lazily, and once.
        fps, on_broken: as for :func:`open_video`.
        name: for messages.

    Raises:
        UserError: there is no picture, or the first one cannot be read.
    """

    def __init__(
        self,
        pictures: Iterable[Picture],
        fps: float | None = None,
        on_broken: str = "raise",
        name: str = "the array source",
    ) -> None:
        self.name = name
        self._on_broken = on_broken
        self.fps = fps or DEFAULT_FPS
        self.estimated_length = len(pictures) if isinstance(pictures, Sized) else None
        iterator = iter(pictures)
        self._is_one_shot = iterator is pictures
        first = next(iterator, None)
        if first is None:
            raise UserError(f"{name} is empty; a video needs at least one frame")
        self._pictures: Iterable[Picture] | None = (
            chain([first], iterator) if self._is_one_shot else pictures
        )
        self.size = read_picture(first, name).shape[:2]
        if isinstance(pictures, list):
            paths = [Path(each) for each in pictures if isinstance(each, str | os.PathLike)]
            numbers = [number_in_name(each) for each in paths]
            known = [number for number in numbers if number is not None]
            if len({*known}) == len(pictures):
                self.frame_numbers = known

    def _read(self) -> Iterator[ReadFrame]:
        pictures = self._pictures
        if pictures is None:
            raise UserError(f"{self.name} is an iterator that was used up; open a new one")
        if self._is_one_shot:
            self._pictures = None
        for index, picture in enumerate(pictures):
            try:
                image = read_picture(picture, self.name, index)
            except UserError as error:
                if self._on_broken == "raise":
                    raise
                logger.warning("%s: %s; stopped before frame %d", self.name, error, index)
                return
            yield ReadFrame(image)
