"""Pictures out: image files and folders of them."""

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from d2video.utils.errors import UserError
from d2video.video.frame_writer import FrameWriter
from d2video.video.image_io import IMAGE_SUFFIXES


class ImageFileWriter(FrameWriter):
    """Write one picture to a file, in the format of its suffix.

    Raises:
        UserError: no image has such a suffix, or the path cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        if Path(path).suffix.lower() not in IMAGE_SUFFIXES:
            known = " ".join(sorted(IMAGE_SUFFIXES))
            raise UserError(f"cannot write an image to {path}: the name must end in one of {known}")
        if os.path.isdir(path):
            raise UserError(f"cannot write an image to {path}: it is a folder")
        super().__init__(path)

    def _append(self, image: np.ndarray, *_: float | None) -> None:
        assert not self._partial.exists(), "one file holds one picture"
        _save(image, self._partial)


class ImageFolderWriter(FrameWriter):
    """Write pictures of any size into a new folder.

    Args:
        path: the folder to make; it must not exist, or be empty.
        names: the pictures' file names, one each, whose suffixes set the formats; by default
            ``000000.jpg``, ``000001.jpg``, …

    Raises:
        UserError: the folder exists and holds files, or cannot be created.
    """

    def __init__(self, path: str | os.PathLike[str], names: Iterable[str] | None = None) -> None:
        if os.path.isfile(path) or (os.path.isdir(path) and any(Path(path).iterdir())):
            raise UserError(f"cannot write frames to {path}: it exists; give a new or empty folder")
        super().__init__(path)
        self._names = iter(names or (f"{index:06d}.jpg" for index in count()))
        self._partial.mkdir(exist_ok=True)

    def _append(self, image: np.ndarray, *_: float | None) -> None:
        _save(image, self._partial / next(self._names))


def lossless_names(names: Sequence[str]) -> list[str]:
    """Names with the suffix PNG: ``a.png`` for ``a.jpg``, or ``a.jpg.png`` if two would be equal."""
    stems = [Path(name).stem for name in names]
    counts = Counter(stems)
    short = [
        f"{stem if counts[stem] == 1 else name}.png"
        for stem, name in zip(stems, names, strict=True)
    ]
    return short if len({*short}) == len(short) else [f"{name}.png" for name in names]


def _save(image: np.ndarray, path: Path) -> None:
    # Other formats have other ideas of quality, or none.
    is_lossy = path.suffix.lower() in (".jpg", ".jpeg", ".webp")
    options: dict[str, Any] = {"quality": 92} if is_lossy else {}
    Image.fromarray(image).save(path, **options)
