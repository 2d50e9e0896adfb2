"""Pictures out: image files and folders of them, complete or not at all."""

import os
import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from d2video.utils.errors import UserError
from d2video.utils.files import partial_path
from d2video.video.frame_writer import FrameWriter, assert_rgb
from d2video.video.image_io import IMAGE_SUFFIXES


class ImageFileWriter(FrameWriter):
    """Write one picture to a file that appears when complete; an older one stays until then.

    Args:
        path: the file to write, in the format of its suffix. Its folder is created.

    Raises:
        UserError: no image has such a suffix, or the path cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        if self.path.suffix.lower() not in IMAGE_SUFFIXES:
            known = " ".join(sorted(IMAGE_SUFFIXES))
            raise UserError(f"cannot write an image to {path}: the name must end in one of {known}")
        if self.path.is_dir():
            raise UserError(f"cannot write an image to {path}: it is a folder")
        self._partial = partial_path(self.path)

    def write(self, image: np.ndarray) -> None:
        """The picture, a uint8 array (H,W,3), RGB.

        Raises:
            UserError: the disk refuses.
        """
        assert not self._partial.exists(), "one file holds one picture"
        _save(image, self._partial, self.path)

    def close(self) -> None:
        if self._partial.exists():
            os.replace(self._partial, self.path)

    def abort(self) -> None:
        self._partial.unlink(missing_ok=True)


class ImageFolderWriter(FrameWriter):
    """Write pictures into a folder that appears when complete.

    Args:
        path: the folder to make; it must not exist, or be empty.
        names: the pictures' file names, one each, whose suffixes set the formats; by default
            ``000000.jpg``, ``000001.jpg``, …

    Raises:
        UserError: the folder exists and holds files, or cannot be created.
    """

    def __init__(self, path: str | os.PathLike[str], names: Iterable[str] | None = None) -> None:
        self.path = Path(path)
        if self.path.is_file() or (self.path.is_dir() and any(self.path.iterdir())):
            raise UserError(f"cannot write frames to {path}: it exists; give a new or empty folder")
        self._names = None if names is None else iter(names)
        self._partial = partial_path(self.path)
        self._partial.mkdir(exist_ok=True)
        self._count = 0

    def write(self, image: np.ndarray) -> None:
        """The next picture, a uint8 array (H,W,3), RGB, of any size.

        Raises:
            UserError: the disk refuses.
        """
        name = f"{self._count:06d}.jpg" if self._names is None else next(self._names)
        _save(image, self._partial / name, self.path)
        self._count += 1

    def close(self) -> None:
        if self._partial.is_dir():
            if self.path.is_dir():
                self.path.rmdir()  # empty, as the constructor saw
            os.replace(self._partial, self.path)

    def abort(self) -> None:
        shutil.rmtree(self._partial, ignore_errors=True)


def lossless_names(names: Sequence[str]) -> list[str]:
    """Names of PNG files in the place of image files': ``a.jpg`` to ``a.png``, or to ``a.jpg.png``
    where two would have one name."""
    stems = [Path(name).stem for name in names]
    counts = Counter(stems)
    short = [
        f"{stem if counts[stem] == 1 else name}.png"
        for stem, name in zip(stems, names, strict=True)
    ]
    return short if len({*short}) == len(short) else [f"{name}.png" for name in names]


def _save(image: np.ndarray, path: Path, destination: Path) -> None:
    assert_rgb(image)
    # Other formats have other ideas of quality, or none.
    options: dict[str, Any] = (
        {"quality": 92} if path.suffix.lower() in (".jpg", ".jpeg", ".webp") else {}
    )
    try:
        Image.fromarray(image).save(path, **options)
    except OSError as error:
        raise UserError(f"cannot write {destination}: {error.strerror or error}") from error
