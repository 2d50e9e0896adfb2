"""Outlines of the shape classes, as polygons of one common area."""

import numpy as np

_CURVE_POINTS = 64


def _regular(corners: int) -> np.ndarray:
    angle = 2 * np.pi * np.arange(corners) / corners
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _star(points: int = 5, inner: float = 0.45) -> np.ndarray:
    outline = _regular(2 * points)
    outline[1::2] *= inner
    return outline


def _cross(arm: float = 0.32) -> np.ndarray:
    quarter = np.array([[1, -arm], [1, arm], [arm, arm]])
    turned = quarter @ np.array([[0, 1], [-1, 0]])
    return np.concatenate([quarter, turned, -quarter, -turned])


def _heart() -> np.ndarray:
    t = 2 * np.pi * np.arange(_CURVE_POINTS) / _CURVE_POINTS
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.stack([16 * np.sin(t) ** 3, -y], axis=1)


def _moon(bite: float = 0.5) -> np.ndarray:
    angle = np.linspace(0.5 * np.pi, 1.5 * np.pi, _CURVE_POINTS // 2)
    rim = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    # The inner edge, half an ellipse, runs back between the same two horns.
    inner = rim[-2:0:-1] * [bite, 1]
    return np.concatenate([rim, inner])


def _arrow() -> np.ndarray:
    upper = np.array([[1, 0], [0.2, 0.8], [0.2, 0.3], [-1, 0.3]])
    return np.concatenate([upper, upper[:0:-1] * [1, -1]])


def _normalised(outline: np.ndarray) -> np.ndarray:
    """Move the centroid to the origin and scale the area to that of the unit disc."""
    x, y = outline[:, 0], outline[:, 1]
    x_next, y_next = np.roll(x, -1), np.roll(y, -1)
    wedge = x * y_next - x_next * y
    area = wedge.sum() / 2
    centroid = np.array([((x + x_next) * wedge).sum(), ((y + y_next) * wedge).sum()]) / (6 * area)
    return (outline - centroid) * np.sqrt(np.pi / abs(area))


# Equal areas, so that the size of an object says nothing about its class. No two of them can be
# turned into each other by rotation and scaling.
_OUTLINES = {
    "circle": _normalised(_regular(_CURVE_POINTS)),
    "square": _normalised(_regular(4)),
    "triangle": _normalised(_regular(3)),
    "star": _normalised(_star()),
    "cross": _normalised(_cross()),
    "heart": _normalised(_heart()),
    "moon": _normalised(_moon()),
    "arrow": _normalised(_arrow()),
}

SHAPE_NAMES: tuple[str, ...] = tuple(_OUTLINES)


def shape_outline(name: str) -> np.ndarray:
    """The outline of a class in :data:`SHAPE_NAMES`: float64 (P, 2), x and y, area pi, centred."""
    return _OUTLINES[name]
