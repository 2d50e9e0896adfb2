"""Parts of pictures of predictions: colours, filled and outlined masks, labels."""

import bisect
import functools
from collections.abc import Sequence
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from d2video.utils.errors import UserError

_NUM_COLOURS = 48
_SMALLEST_FONT = 6


def track_colour(track_id: int) -> tuple[int, int, int]:
    """The RGB colour (0 to 255) of a track; neighbouring ids differ clearly."""
    return _palette()[track_id % _NUM_COLOURS]


@functools.lru_cache(maxsize=1)
def _palette() -> list[tuple[int, int, int]]:
    """Lively colours of middle lightness, which stand out from photographs.

    They are chosen one by one, each as far as possible from those before it in CIELAB.
    """
    levels = np.linspace(0, 1, 14, dtype=np.float32)
    rgb = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), -1).reshape(1, -1, 3)
    lab = cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB)[0]
    lightness, chroma = lab[:, 0], np.hypot(lab[:, 1], lab[:, 2])
    lively = (lightness > 45) & (lightness < 88) & (chroma > 45)
    rgb, lab = rgb[0][lively], lab[lively]

    chosen = [int(np.abs(rgb - np.array([0.15, 0.55, 1.0])).sum(1).argmin())]
    distance = np.full(len(lab), np.inf)
    for _ in range(_NUM_COLOURS - 1):
        distance = np.minimum(distance, np.linalg.norm(lab - lab[chosen[-1]], axis=1))
        chosen.append(int(distance.argmax()))
    return [tuple(round(255 * float(c)) for c in rgb[i]) for i in chosen]  # type: ignore[misc]


def label_of_class(index: int, class_names: Sequence[str] | None) -> str:
    """The class's name, or its index if ``class_names`` is ``None`` or has "" for it.

    Raises:
        UserError: ``class_names`` ends before the class.
    """
    if class_names is None:
        return f"class {index}"
    if index >= len(class_names):
        raise UserError(
            f"the model predicts class {index}, but DATASETS names only {len(class_names)} classes: name the "
            "dataset that the model was trained on"
        )
    return class_names[index] or f"class {index}"


def enlarge(image: np.ndarray, scale: int) -> np.ndarray:
    """A copy of a uint8 image (H,W,3), ``scale`` times as high and as wide."""
    size = (scale * image.shape[1], scale * image.shape[0])
    return cv2.resize(np.ascontiguousarray(image), size, interpolation=cv2.INTER_CUBIC)


def crop(image: np.ndarray, rectangle: Sequence[int]) -> np.ndarray:
    """The view of an image (H,W,...) in a rectangle (x,y,w,h)."""
    x, y, width, height = rectangle
    return image[y : y + height, x : x + width]


def fill_mask(
    canvas: np.ndarray,
    mask: np.ndarray,
    rectangle: Sequence[int],
    colour: tuple[int, int, int],
    alpha: float,
) -> None:
    """Blend a mask, uint8 (H,W) of 0 and 1, into the canvas; ``rectangle`` (x,y,w,h) holds it."""
    region = crop(canvas, rectangle)
    if region.size:
        tint = np.full_like(region, colour)
        blended = cv2.addWeighted(region, 1 - alpha, tint, alpha, 0)
        cv2.copyTo(blended, crop(mask, rectangle), region)


def outline_mask(
    canvas: np.ndarray,
    mask: np.ndarray,
    rectangle: Sequence[int],
    colour: tuple[int, int, int],
    thickness: int,
) -> None:
    """Draw the outer and inner outlines of a mask, as in :func:`fill_mask`."""
    part = crop(mask, rectangle)
    if part.size:
        contours, _ = cv2.findContours(part, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
        corner = rectangle[:2]
        cv2.drawContours(canvas, contours, -1, colour, thickness, cv2.LINE_AA, offset=corner)


def label_font_size(canvas: np.ndarray, factor: float = 1.0) -> int:
    """The font size that suits a picture (H,W,3), times a factor."""
    return max(_SMALLEST_FONT, round(factor * max(11, min(canvas.shape[:2]) / 36)))


def draw_label(
    canvas: np.ndarray,
    text: str,
    colour: tuple[int, int, int],
    corner: tuple[int, int],
    font_size: int,
) -> None:
    """Text on a filled box with its top left at ``corner`` (x, y), cut off where the canvas ends."""
    x, y = corner
    coverage = text_coverage(text, font_size)[: canvas.shape[0] - y, : canvas.shape[1] - x]
    height, width = coverage.shape
    canvas[y : y + height, x : x + width] = np.take(_shades(colour), coverage, axis=0)


@functools.lru_cache(maxsize=1024)
def _shades(colour: tuple[int, int, int]) -> np.ndarray:
    """The colours between a ground and the ink that is readable on it, uint8 (256,3)."""
    # Rec. 601 luma: dark text on light colours, light text on dark ones.
    luma = np.dot(colour, (0.299, 0.587, 0.114))
    ink = (0, 0, 0) if luma > 140 else (255, 255, 255)
    return np.linspace(colour, ink, 256).round().astype(np.uint8)


def shorten(text: str, font_size: int, width: int, tail: str = "") -> str:
    """``text`` and ``tail`` as one; if they are wider than ``width`` pixels, the end of the text gives way
    to "…", and where no letter of it would be left, the tail goes as well."""

    def fits(whole: str) -> bool:
        return text_coverage(whole, font_size).shape[1] <= width

    if fits(text + tail):
        return text + tail
    for end in (tail, "") if tail else ("",):
        kept = bisect.bisect_left(
            range(1, len(text)), True, key=lambda n: not fits(f"{text[:n]}…{end}")
        )
        if kept:
            return f"{text[:kept]}…{end}"
    return f"{text[:1]}…"


def draw_text(
    canvas: np.ndarray,
    text: str,
    corner: tuple[int, int],
    font_size: int,
    colour: tuple[int, int, int],
) -> None:
    """Text with its top left at ``corner`` (x, y), cut off where the canvas ends."""
    coverage = text_coverage(text, font_size) / np.float32(255)
    x, y = (max(value, 0) for value in corner)
    region = canvas[y : y + coverage.shape[0], x : x + coverage.shape[1]]
    ink = coverage[: region.shape[0], : region.shape[1], None]
    region[:] = (region * (1 - ink) + np.array(colour) * ink).round()


@functools.lru_cache(maxsize=4096)
def text_coverage(text: str, font_size: int) -> np.ndarray:
    """The text with a margin, as uint8 (h,w) ink coverage from 0 to 255.

    Matplotlib's DejaVu font has Latin, Greek and Cyrillic letters; OpenCV's text is ASCII only.
    """
    font = _font(font_size)
    left, _, right, _ = font.getbbox(text)
    ascent, descent = font.getmetrics()
    margin = max(2, font_size // 4)
    size = (int(right - left) + 2 * margin, ascent + descent + margin)
    picture = Image.new("L", size)
    ImageDraw.Draw(picture).text((margin - left, margin // 2), text, fill=255, font=font)
    return np.asarray(picture)


@functools.lru_cache(maxsize=16)
def _font(size: int) -> ImageFont.FreeTypeFont:
    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans-Bold.ttf"
    return ImageFont.truetype(str(path), size)
