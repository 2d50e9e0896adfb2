"""Image files in."""

import logging
import os
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from detectron2.data.detection_utils import _apply_exif_orientation
from detectron2.utils.logger import log_first_n
from PIL import Image

from d2video.utils.errors import BrokenFile, UserError
from d2video.utils.limits import size_fault
from d2video.utils.natural_order import natural_key
from d2video.utils.sources import IMAGE_SUFFIXES
from d2video.utils.whole_numbers import whole_number

# Of one picture, uint8 (H,W,3), RGB: an array, or an image of Pillow of mode "RGB", which need not be copied.
Pixels = np.ndarray | Image.Image

# Those of IMAGE_SUFFIXES, whatever a file is called; Pillow would also start Ghostscript for EPS.
_FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "PPM", "GIF")
# Modes of Pillow, and how their pixels are held; grey of 16 bits is "I;16" or "I", by Pillow's version.
_ONE_CHANNEL = {"1": np.uint8, "L": np.uint8, "P": np.uint8, "I;16": np.uint16, "I": np.uint16}
_ORIENTATION_TAG = 0x0112
_TURNS = (5, 6, 7, 8)  # orientations by which height and width change places
# Of this process and all that it starts, however they are started.
_IGNORED = "D2VIDEO_IGNORE_EXIF_ORIENTATION"
# A warning from our own limit on, which is raised only where a program asks for it.
_BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)
# What Pillow raises on damaged data differs by format.
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, *_BOMBS)


def read_rgb(path: str | os.PathLike[str]) -> np.ndarray:
    """As :func:`open_rgb`, as a uint8 array (H,W,3)."""
    return np.asarray(open_rgb(path))


def open_rgb(path: str | os.PathLike[str]) -> Image.Image:
    """Read an image file, upright (see :func:`use_exif_orientation`), of any colour mode.

    Transparency is dropped. 16-bit values keep their high byte. Pillow does so for colours, but turns
    nearly all of 16-bit grey white. Of a file of several pictures the first is read, with a warning.

    Returns:
        all pixels, decoded, of mode "RGB".

    Raises:
        BrokenFile: the file is missing, not an image, cut off, has pixels of another range, or is
            larger than :mod:`d2video.utils.limits` allows.
    """
    with _open_image(path) as image:
        count = getattr(image, "n_frames", 1)
        pixels = _rgb(image)
        if count > 1:
            told = f"{path} holds {count} pictures, of which the first is read"
            log_first_n(logging.WARNING, told, name=__name__, key="message")
        return pixels


def read_values(path: str | os.PathLike[str]) -> np.ndarray:
    """The pixels of an image of one channel as they are stored: palette indices, or grey of 1 to 16 bits.

    Returns:
        uint8 or uint16 array (H,W).

    Raises:
        BrokenFile: as :func:`read_rgb`, or the image has colours and no palette.
    """
    with _open_image(path) as image:
        if image.mode not in _ONE_CHANNEL:
            raise ValueError(f"its pixels are colours ({image.mode}) instead of numbers of objects")
        return np.asarray(image).astype(_ONE_CHANNEL[image.mode], copy=False)


def read_rgba(path: str | os.PathLike[str]) -> np.ndarray:
    """The pixels of an image with transparency as they are stored, uint8 (H,W,4).

    Raises:
        BrokenFile: as :func:`read_rgb`, or the image is of another kind.
    """
    with _open_image(path) as image:
        if image.mode != "RGBA":
            raise ValueError(f"its pixels are {image.mode}, not RGBA")
        return np.asarray(image)


def image_mode(path: str | os.PathLike[str]) -> str | None:
    """Pillow's mode of an image, such as "P" where pixels are indices of a palette; None if it cannot be
    read."""
    try:
        with _open_image(path) as image:
            return image.mode
    except BrokenFile:
        return None


def rgb_of(image: Image.Image, where: str) -> np.ndarray:
    """A PIL image as :func:`read_rgb` gives that of a file; ``where`` says which one, for messages.

    Raises:
        UserError: its file is damaged, or it is too large.
    """
    try:
        fault = size_fault(image.height, image.width)
        if fault:
            raise ValueError(fault)
        return np.asarray(_rgb(image))
    except _DAMAGE as error:
        raise UserError(f"{where} is an image that cannot be read ({error}); replace it") from error


def _rgb(image: Image.Image) -> Image.Image:
    # Not ImageOps.exif_transpose, which writes the other EXIF entries anew and fails on odd ones.
    upright = _apply_exif_orientation(image) if _uses_exif_orientation() else image
    whole = _to_8_bit(upright)
    if whole.mode != "RGB":  # else the pixels would be copied
        return whole.convert("RGB")
    whole.load()
    return whole


def read_image_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Height and width of what :func:`read_rgb` gives, from the head of the file.

    Raises:
        BrokenFile: the file is missing, not an image, or too large.
    """
    turned, stored = _turned_and_stored(path)[1:]
    return turned if _uses_exif_orientation() else stored


def use_exif_orientation(used: bool) -> None:
    """Turn images by the orientation in their EXIF entries, as by default, or take the pixels as they
    are stored (INPUT.EXIF_ORIENTATION). It holds for this process and those that it starts."""
    if used:
        os.environ.pop(_IGNORED, None)
    else:
        os.environ[_IGNORED] = "1"


def exif_orientation(path: str | os.PathLike[str]) -> int:
    """The orientation by which an image is turned or mirrored, 2 to 8; 1 if it is not.

    Raises:
        BrokenFile: the file is missing, not an image, or too large.
    """
    return _turned_and_stored(path)[0] if _uses_exif_orientation() else 1


def exif_advice(path: str | os.PathLike[str], height: int, width: int) -> str | None:
    """What to do about an image that is not of the stated size, if its EXIF orientation is why."""
    orientation, turned, stored = _turned_and_stored(path)
    used = _uses_exif_orientation()
    if orientation == 1 or (stored if used else turned) != (height, width):
        return None
    if used:
        return (
            f"its EXIF orientation {orientation} turns it, and the stated size is that of the pixels "
            "as they are stored: if the labels are, too, set INPUT.EXIF_ORIENTATION False"
        )
    return (
        f"its EXIF orientation {orientation} is ignored, and the stated size is that of the upright "
        "image: set INPUT.EXIF_ORIENTATION True"
    )


def _uses_exif_orientation() -> bool:
    return _IGNORED not in os.environ


def _turned_and_stored(
    path: str | os.PathLike[str],
) -> tuple[int, tuple[int, int], tuple[int, int]]:
    """Orientation, 1 to 8, and (height, width) of the upright image and of the stored one."""
    with _open_image(path) as image:
        width, height = image.size
        orientation = image.getexif().get(_ORIENTATION_TAG, 1)
    if orientation not in range(2, 9):
        orientation = 1
    stored = height, width
    return orientation, stored[::-1] if orientation in _TURNS else stored, stored


def is_still_image(path: str | os.PathLike[str]) -> bool:
    """Whether a file is one picture: by its suffix, but animated PNG and WebP are videos."""
    if Path(path).suffix.lower() not in IMAGE_SUFFIXES:
        return False
    try:
        with _open_image(path) as image:
            return image.format not in ("PNG", "WEBP") or not getattr(image, "is_animated", False)
    except BrokenFile:  # an image still; its reader says what is wrong
        return True


@contextmanager
def _open_image(path: str | os.PathLike[str]) -> Iterator[Image.Image]:
    """Open an image of bounded size; Pillow's errors, also in the block, become BrokenFile."""
    try:
        with Image.open(path, formats=_FORMATS) as image:
            fault = size_fault(image.height, image.width)
            if fault:
                raise ValueError(fault)
            yield image
    except FileNotFoundError as error:
        raise BrokenFile(f"image file {path} does not exist") from error
    except _DAMAGE as error:
        reason = " ".join(str(error).split())
        raise BrokenFile(
            f"cannot read image {path} ({reason}); replace the file or leave it out"
        ) from error


def _to_8_bit(image: Image.Image) -> Image.Image:
    if image.mode != "F" and not image.mode.startswith("I"):
        return image
    values = np.asarray(image)
    if image.mode == "F" or values.min() < 0 or values.max() > 0xFFFF:
        raise ValueError(f"its {values.dtype} pixels have no known range; use 8 or 16 bits")
    return Image.fromarray((values >> 8).astype(np.uint8))


def list_images(folder: str | os.PathLike[str]) -> list[Path]:
    """The visible image files of a folder in natural order: ``2.jpg`` before ``10.jpg``.

    Raises:
        UserError: it holds no image.
    """
    paths = visible_files(folder, IMAGE_SUFFIXES)
    if not paths:
        known = " ".join(sorted(IMAGE_SUFFIXES))
        raise UserError(f"folder {folder} holds no image; expected files ending in {known}")
    return paths


def visible_files(folder: str | os.PathLike[str], suffixes: Collection[str]) -> list[Path]:
    """The files of a folder with one of some suffixes, in natural order, without hidden ones."""
    path = Path(folder)
    return [path / name for name in sorted(_visible(folder, suffixes), key=natural_key)]


def holds_files(folder: str | os.PathLike[str], suffixes: Collection[str]) -> bool:
    """Whether :func:`visible_files` finds any."""
    return next(_visible(folder, suffixes), None) is not None


def _visible(folder: str | os.PathLike[str], suffixes: Collection[str]) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for entry in entries:
            suffix = os.path.splitext(entry.name)[1].lower()
            if suffix in suffixes and not entry.name.startswith(".") and not entry.is_dir():
                yield entry.name


def visible_folders(folder: str | os.PathLike[str]) -> list[Path]:
    """The folders in a folder, sorted by name, without hidden ones."""
    with os.scandir(folder) as entries:
        return sorted(Path(e.path) for e in entries if e.is_dir() and e.name[0] != ".")


def in_natural_order(paths: Iterable[Path]) -> list[Path]:
    """Sort by names, those of folders first, and numbers in them by value."""
    return sorted(paths, key=lambda path: [natural_key(part) for part in path.parts])


def number_in_name(path: Path) -> int | None:
    """The number that an image's name is, apart from its suffix; None if it is not a number."""
    # 15 digits: more than any frame's number has, and exact in every number format.
    return whole_number(path.stem, 15)
