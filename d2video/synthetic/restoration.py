"""Images rich in detail: sharp edges, fine stripes and marks that a model can learn to restore."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from d2video.synthetic.files import write_image
from d2video.synthetic.folder import Samples, register_format, write_folder
from d2video.synthetic.image import render_image
from d2video.synthetic.outlines import SHAPE_NAMES, shape_outline
from d2video.synthetic.spec import ShapesSpec
from d2video.synthetic.textures import hsv_colour, paint, texture_pattern
from d2video.utils.errors import UserError

# Marks are drawn on a grid this many times finer, so that edges are those of a sharp photograph:
# one pixel wide and without steps.
_FINER = 4
_LETTERS = list("ABCDEFGHJKLMNPRSTUVXYZ023456789")
_FONTS = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_TRIPLEX)


@dataclass(frozen=True)
class RestorationSpec:
    """What the images look like.

    Args:
        height, width: smallest and largest, in pixels, each drawn for every image.
        classes: shapes, names out of :data:`SHAPE_NAMES`.
        objects: most textured shapes of an image; there is one at least.
        patches: smallest and largest number of patches of fine stripes, checks or dots.
        marks: of outlines, lines and words.
        period: smallest and largest period of the fine patterns, in pixels; what is below twice the
            scale is lost in super-resolution, and only guessed from the rest.

    Raises:
        UserError: for a value out of range or an unknown class.
    """

    height: tuple[int, int] = (96, 128)
    width: tuple[int, int] = (96, 128)
    classes: tuple[str, ...] = SHAPE_NAMES
    objects: int = 4
    patches: tuple[int, int] = (2, 4)
    marks: tuple[int, int] = (6, 12)
    period: tuple[float, float] = (4.0, 12.0)

    def __post_init__(self) -> None:
        ranges = {
            "height": (32, self.height),
            "width": (32, self.width),
            "patches": (0, self.patches),
            "marks": (0, self.marks),
            "period": (2, self.period),
        }
        for name, (least, values) in ranges.items():
            if len(values) != 2 or not least <= values[0] <= values[1]:
                raise UserError(
                    f"specification of images to restore: {name} must be two numbers, {least} <= "
                    f"smallest <= largest; got {values}"
                )
        self.scene(*self.height)  # checks the rest

    def scene(self, height: int, width: int) -> ShapesSpec:
        """The scene behind the marks: everything in full contrast, without noise."""
        return ShapesSpec(
            height=height,
            width=width,
            classes=tuple(self.classes),
            max_objects=self.objects,
            size=(0.25, 0.6),
            noise=0.0,
        )


def render_detailed_image(spec: RestorationSpec, rng: np.random.Generator) -> np.ndarray:
    """Draw a random image, uint8 (H,W,3), RGB: textured shapes, and fine patterns and marks on them."""
    height, width = (int(rng.integers(low, high + 1)) for low, high in (spec.height, spec.width))
    scene = render_image(spec.scene(height, width), rng).frames[0]
    fine = cv2.resize(scene, None, fx=_FINER, fy=_FINER, interpolation=cv2.INTER_CUBIC)
    for _ in range(int(rng.integers(spec.patches[0], spec.patches[1] + 1))):
        _draw_patch(fine, rng, spec.period)
    for _ in range(int(rng.integers(spec.marks[0], spec.marks[1] + 1))):
        (_draw_outline, _draw_lines, _draw_word)[int(rng.integers(3))](fine, rng)
    return cv2.resize(fine, (width, height), interpolation=cv2.INTER_AREA)


@register_format("restoration", RestorationSpec())
def write_restoration_images(
    root: str | os.PathLike,
    splits: Mapping[str, int],
    spec: RestorationSpec | None = None,
    seed: int = 0,
    **how: Any,
) -> bool:
    """Write PNG images: ``<root>/<split>/00000.png`` and so on.

    Args:
        splits: name of each split and how many images it has.
        spec: what they look like (default: ``RestorationSpec()``).
        seed, how: as in :func:`write_folder`.

    Returns:
        True if the images were written, False if those there were kept.

    Raises:
        UserError: as :func:`write_folder`.
    """
    spec = spec or RestorationSpec()

    def write_split(folder: Path, name: str, samples: Samples) -> None:
        (folder / name).mkdir()
        for index, rng in samples:
            image = render_detailed_image(spec, rng)
            write_image(folder / name / f"{index:05d}.png", image)

    return write_folder(root, splits, spec, seed, {"format": "restoration"}, write_split, **how)


def _colours(rng: np.random.Generator) -> np.ndarray:
    """A dark and a light colour in random order, float32 (2,3)."""
    dark = hsv_colour(rng.random(), rng.uniform(0, 1), rng.uniform(0, 0.4))
    light = hsv_colour(rng.random(), rng.uniform(0, 0.6), rng.uniform(0.7, 1))
    return np.stack([dark, light])[rng.permutation(2)]


def _colour(rng: np.random.Generator) -> tuple[float, ...]:
    return tuple(_colours(rng)[0].tolist())


def _place(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A random point, x and y."""
    return rng.random(2) * (image.shape[1], image.shape[0])


def _draw_patch(image: np.ndarray, rng: np.random.Generator, period: tuple[float, float]) -> None:
    """Fill a random shape with a fine pattern."""
    height, width = image.shape[:2]
    index = int(rng.choice((0, 1, 3)))  # those with edges: stripes, dots, checks
    texture = paint(
        texture_pattern(rng, height, width, rng.uniform(*period) * _FINER, index), _colours(rng)
    )
    mask = np.zeros((height, width), np.uint8)
    cv2.fillPoly(mask, [_random_outline(image, rng)], 1)
    np.copyto(image, texture, where=mask[..., None].astype(bool))


def _random_outline(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A shape somewhere, turned: int32 (P,2)."""
    radius, angle = rng.uniform(0.1, 0.35) * min(image.shape[:2]), rng.uniform(0, 2 * np.pi)
    cos, sin = radius * np.cos(angle), radius * np.sin(angle)
    outline = shape_outline(str(rng.choice(SHAPE_NAMES))) @ np.array([[cos, sin], [-sin, cos]])
    return np.round(outline + _place(image, rng)).astype(np.int32)


def _draw_outline(image: np.ndarray, rng: np.random.Generator) -> None:
    """The outline of a random shape, 1 to 2 pixels wide."""
    stroke = int(rng.integers(_FINER, 2 * _FINER + 1))
    cv2.polylines(image, [_random_outline(image, rng)], True, _colour(rng), stroke)


def _draw_lines(image: np.ndarray, rng: np.random.Generator) -> None:
    """A few parallel lines, as of a fence or a staff."""
    start, step = _place(image, rng), rng.uniform(3, 8) * _FINER
    angle, length = rng.uniform(0, np.pi), rng.uniform(0.2, 0.6) * image.shape[0]
    along = np.array([np.cos(angle), np.sin(angle)])
    across, colour = np.array([-along[1], along[0]]), _colour(rng)
    stroke = int(rng.integers(_FINER, 2 * _FINER + 1))
    for k in range(int(rng.integers(2, 7))):
        ends = start + k * step * across + np.array([[-0.5], [0.5]]) * length * along
        first, last = (tuple(int(v) for v in end) for end in np.round(ends))
        cv2.line(image, first, last, colour, stroke)


def _draw_word(image: np.ndarray, rng: np.random.Generator) -> None:
    """Letters and digits, 8 to 20 pixels high, on the image or on a plate of another colour."""
    text = "".join(rng.choice(_LETTERS, int(rng.integers(2, 7))))
    font = _FONTS[int(rng.integers(len(_FONTS)))]
    stroke = int(rng.integers(_FINER, 2 * _FINER))
    size = cv2.getFontScaleFromHeight(font, int(rng.uniform(8, 20) * _FINER), stroke)
    (width, height), base = cv2.getTextSize(text, font, size, stroke)
    middle, colours = _place(image, rng), _colours(rng).tolist()
    left, bottom = (int(v) for v in np.round(middle + np.array([-width, height]) / 2))
    if rng.random() < 0.5:
        corners = (left - base, bottom - height - base), (left + width + base, bottom + base)
        cv2.rectangle(image, *corners, colours[1], -1)
    cv2.putText(image, text, (left, bottom), font, size, colours[0], stroke, cv2.LINE_AA)
