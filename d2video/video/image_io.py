"""Image files in."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from detectron2.data.detection_utils import _apply_exif_orientation
from PIL import Image

from d2video.utils.errors import BrokenFile, UserError
from d2video.utils.limits import size_fault

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm"})
# Those of these suffixes, whatever a file is called; Pillow would also start Ghostscript for EPS.
_FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "PPM", "GIF")
_EXIF_ORIENTATION = 0x0112
# A warning from our own limit on, which is raised only where a program asks for it.
_BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)


def read_rgb(path: str | os.PathLike[str]) -> np.ndarray:
    """Read an image file, upright (the EXIF orientation is applied), of any colour mode.

    Transparency is dropped. 16-bit values keep their high byte. Pillow does so for colours, but turns
    nearly all of 16-bit grey white.

    Returns:
        uint8 array (H,W,3), RGB.

    Raises:
        BrokenFile: the file is missing, not an image, cut off, has pixels of another range, or is
            larger than :mod:`d2video.utils.limits` allows.
    """
    with _open_image(path) as image:
        # Not ImageOps.exif_transpose, which writes the other EXIF entries anew and fails on odd ones.
        return np.asarray(_to_8_bit(_apply_exif_orientation(image)).convert("RGB"))


def read_image_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Height and width of the upright image, from the head of the file.

    Raises:
        BrokenFile: the file is missing, not an image, or too large.
    """
    with _open_image(path) as image:
        width, height = image.size
        turned = image.getexif().get(_EXIF_ORIENTATION, 1) in (5, 6, 7, 8)
    return (width, height) if turned else (height, width)


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
    # What Pillow raises on damaged data differs by format.
    except (OSError, SyntaxError, ValueError, EOFError, *_BOMBS) as error:
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
    paths = [
        path
        for path in Path(folder).iterdir()
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")
    ]
    if not paths:
        known = " ".join(sorted(IMAGE_SUFFIXES))
        raise UserError(f"folder {folder} holds no image; expected files ending in {known}")
    return sorted(paths, key=_natural_key)


def _natural_key(path: Path) -> list[str | int]:
    # The split alternates text and digits, so entries at one position always compare.
    parts = re.split(r"(\d+)", path.name)
    return [int(part) if i % 2 else part.casefold() for i, part in enumerate(parts)]
