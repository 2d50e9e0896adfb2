"""Backgrounds made of stuff: regions whose class shows in pattern and hue."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from d2video.synthetic.textures import hsv_colour, paint, with_contrast

Pattern = Callable[[np.random.Generator, int, int, float], np.ndarray]


def _speckles(
    rng: np.random.Generator, height: int, width: int, cell: tuple[float, float]
) -> np.ndarray:
    """Random brightness of cells of the given height and width in pixels: float32 (H, W), 0..1."""
    rows, columns = (
        max(2, round(side / of_cell)) for side, of_cell in zip((height, width), cell, strict=True)
    )
    coarse = rng.random((rows, columns), dtype=np.float32)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)


def _blades(rng: np.random.Generator, height: int, width: int, period: float) -> np.ndarray:
    return _speckles(rng, height, width, (1.2 * period, 0.15 * period))


def _grains(rng: np.random.Generator, height: int, width: int, period: float) -> np.ndarray:
    return _speckles(rng, height, width, (0.25 * period, 0.25 * period))


def _ripples(rng: np.random.Generator, height: int, width: int, period: float) -> np.ndarray:
    y, x = np.mgrid[:height, :width].astype(np.float32) / period
    bend = 0.2 * np.sin(2 * np.pi * (x / rng.uniform(2, 4) + rng.random()))
    return (0.5 + 0.5 * np.sin(2 * np.pi * (y + bend + rng.random()))).astype(np.float32)


def _masonry(rng: np.random.Generator, height: int, width: int, period: float) -> np.ndarray:
    y, x = np.mgrid[:height, :width].astype(np.float32) / period
    y, x = y + rng.random(), x / 2 + rng.random()
    x = x + 0.5 * (np.floor(y) % 2)  # every other row is moved by half a brick
    joint = (y % 1 < 0.2) | (x % 1 < 0.1)
    return joint.astype(np.float32)


@dataclass(frozen=True)
class _Look:
    pattern: Pattern
    hues: tuple[float, float]  # in turns of the colour circle; no two classes share any


_LOOKS = {
    "grass": _Look(_blades, (0.26, 0.38)),
    "water": _Look(_ripples, (0.53, 0.65)),
    "brick": _Look(_masonry, (0.96, 1.04)),
    "sand": _Look(_grains, (0.11, 0.16)),
}

STUFF_NAMES: tuple[str, ...] = tuple(_LOOKS)


def stuff_texture(
    rng: np.random.Generator, height: int, width: int, name: str, contrast: float = 1.0
) -> np.ndarray:
    """The texture of a class in :data:`STUFF_NAMES`, more muted than those of objects.

    Args:
        contrast: 1 keeps its two colours, 0 makes both their mean.

    Returns uint8 (height, width, 3), RGB.
    """
    look = _LOOKS[name]
    value = rng.uniform(0.35, 0.6)
    colours = np.stack(
        [
            hsv_colour(rng.uniform(*look.hues), rng.uniform(0.35, 0.55), brightness)
            for brightness in (value, value + 0.25)
        ]
    )
    period = rng.uniform(0.06, 0.12) * min(height, width)  # as in textures.background_texture
    return paint(look.pattern(rng, height, width, period), with_contrast(colours, contrast))


def stuff_background(
    rng: np.random.Generator,
    height: int,
    width: int,
    names: tuple[str, ...],
    contrast: float = 1.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Two random classes of ``names``, one above and one below a horizon (or the only one).

    Which class is where tells nothing. The horizon is slanted, wavy, and crosses the middle half.

    Returns:
        uint8 (height, width, 3), RGB; and uint8 (height, width), indices into ``names``.
    """
    chosen = rng.permutation(len(names))[:2]
    textures = [stuff_texture(rng, height, width, names[k], contrast) for k in chosen]
    below = _below_horizon(rng, height, width) & (len(chosen) > 1)
    background = np.where(below[..., None], textures[-1], textures[0])
    return background, np.where(below, chosen[-1], chosen[0]).astype(np.uint8)


def _below_horizon(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Which pixels lie below a random horizon: bool (height, width)."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    slant = rng.uniform(-0.25, 0.25) * (x - width / 2)
    wave = np.sin(2 * np.pi * (x / width * rng.uniform(2, 5) + rng.random()))
    return y > height * (rng.uniform(0.4, 0.6) + 0.015 * wave) + slant
