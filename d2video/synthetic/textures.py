"""Two-colour textures of objects and backgrounds."""

import colorsys

import cv2
import numpy as np


def _phase(height: int, width: int, period: float, angle: float) -> np.ndarray:
    """Position along direction ``angle`` in periods of ``period`` pixels: float32 (H, W)."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    return ((x * np.cos(angle) + y * np.sin(angle)) / period).astype(np.float32)


def _stripes(rng: np.random.Generator, height: int, width: int, period: float) -> np.ndarray:
    phase = _phase(height, width, period, rng.uniform(0, np.pi)) + rng.random()
    return (phase % 1 < 0.5).astype(np.float32)


def _checks(rng: np.random.Generator, height: int, width: int, period: float) -> np.ndarray:
    angle = rng.uniform(0, np.pi)
    rows = _phase(height, width, period, angle) % 1 < 0.5
    columns = _phase(height, width, period, angle + np.pi / 2) % 1 < 0.5
    return (rows ^ columns).astype(np.float32)


def _waves(rng: np.random.Generator, height: int, width: int, period: float) -> np.ndarray:
    phase = _phase(height, width, period, rng.uniform(0, np.pi)) + rng.random()
    return 0.5 + 0.5 * np.sin(2 * np.pi * phase)


def _dots(rng: np.random.Generator, height: int, width: int, period: float) -> np.ndarray:
    angle = rng.uniform(0, np.pi)
    across = _phase(height, width, period, angle) % 1 - 0.5
    along = _phase(height, width, period, angle + np.pi / 2) % 1 - 0.5
    return (across**2 + along**2 < 0.09).astype(np.float32)


def _gradient(rng: np.random.Generator, height: int, width: int, period: float) -> np.ndarray:
    ramp = _phase(height, width, 1.0, rng.uniform(0, 2 * np.pi))
    return (ramp - ramp.min()) / (np.ptp(ramp) + 1e-6)


def _noise(rng: np.random.Generator, height: int, width: int, period: float) -> np.ndarray:
    cells = (max(2, round(width / period) + 1), max(2, round(height / period) + 1))
    coarse = rng.random((cells[1], cells[0]), dtype=np.float32)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).clip(0, 1)


_PATTERNS = (_stripes, _dots, _gradient, _checks, _waves, _noise)


def hsv_colour(hue: float, saturation: float, value: float) -> np.ndarray:
    """A colour, float32 (3,) RGB in 0..255. Hue in turns of the colour circle, the others in 0..1."""
    return np.array(colorsys.hsv_to_rgb(hue % 1, saturation, value), np.float32) * 255


def _texture(
    rng: np.random.Generator,
    height: int,
    width: int,
    period: float,
    colours: np.ndarray,
    index: int | None = None,
) -> np.ndarray:
    if index is None:
        index = int(rng.integers(len(_PATTERNS)))
    return paint(texture_pattern(rng, height, width, period, index), colours)


def texture_pattern(
    rng: np.random.Generator, height: int, width: int, period: float, index: int
) -> np.ndarray:
    """One of the patterns, counted round: stripes, dots, a gradient, checks, waves, smooth noise.

    Returns float32 (height, width) of 0..1.
    """
    return _PATTERNS[index % len(_PATTERNS)](rng, height, width, period)


def paint(pattern: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Blend two colours (2, 3) of 0..255 by a pattern (H, W) of 0..1: uint8 (H, W, 3)."""
    return (colours[0] + (colours[1] - colours[0]) * pattern[..., None]).round().astype(np.uint8)


def with_contrast(colours: np.ndarray, contrast: float) -> np.ndarray:
    """Draw two colours (2, 3) together: 1 keeps them, 0 makes both their mean."""
    mean = colours.mean(axis=0)
    return mean + contrast * (colours - mean)


def background_texture(
    rng: np.random.Generator,
    height: int,
    width: int,
    contrast: float = 1.0,
    brightness: tuple[float, float] = (0.25, 0.75),
) -> np.ndarray:
    """A muted texture: two neighbouring, greyish colours.

    Args:
        contrast: 1 keeps its two colours, 0 makes both their mean.
        brightness: least and greatest of the darker colour, as the V of HSV; the other's is higher
            by 0.27 of the greatest.

    Returns uint8 (height, width, 3), RGB.
    """
    hue, value = rng.random(), rng.uniform(*brightness)
    lighter = 0.2 * brightness[1] / 0.75
    colours = np.stack(
        [
            hsv_colour(hue, rng.uniform(0.1, 0.45), value),
            hsv_colour(hue + rng.uniform(-0.15, 0.15), rng.uniform(0.1, 0.45), value + lighter),
        ]
    )
    colours = with_contrast(colours, contrast)
    # Dots and checks stay smaller than the objects, which they would resemble otherwise. The
    # background is drawn at twice the size of a frame.
    return _texture(rng, height, width, rng.uniform(0.06, 0.12) * min(height, width), colours)


def object_texture(
    rng: np.random.Generator,
    size: int,
    background: np.ndarray,
    contrast: float = 1.0,
    pattern: int | None = None,
    hues: tuple[float, float] = (0.0, 1.0),
) -> np.ndarray:
    """A vivid texture that stands out from ``background``, a colour (3,) in 0..255.

    Args:
        contrast: 1 keeps its two colours, 0 makes both their mean.
        pattern: which pattern, counted round; a random one if None.
        hues: range of the first colour's hue, in turns of the colour circle.

    Returns uint8 (size, size, 3), RGB.
    """
    candidates = []
    for _ in range(6):
        hue, value = rng.uniform(*hues), rng.uniform(0.55, 1.0)
        first = hsv_colour(hue, rng.uniform(0.6, 1.0), value)
        apart = rng.uniform(-0.2, 0.2) * (hues[1] - hues[0])
        second = hsv_colour(hue + apart, rng.uniform(0.6, 1.0), 0.6 * value)
        candidates.append(np.stack([first, second]))
    distance = [np.linalg.norm(colours - background, axis=1).min() for colours in candidates]
    colours = candidates[int(np.argmax(distance))]
    colours = with_contrast(colours, contrast)
    period = rng.uniform(0.25, 0.45) * size if pattern is None else rng.uniform(0.14, 0.2) * size
    return _texture(rng, size, size, period, colours, pattern)
