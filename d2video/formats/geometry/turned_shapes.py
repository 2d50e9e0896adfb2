"""Shapes that are turned: rectangles and ellipses. Angles are degrees, clockwise on a screen."""

import math

import numpy as np
from numpy.typing import ArrayLike

# So that at a radius of 1000 pixels the edges lie within a third of a pixel.
_ELLIPSE_POINTS = 128


def turned(points: np.ndarray, degrees: float) -> np.ndarray:
    """Points (N,2), x and y, turned about the origin."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return points @ np.array([[cos, sin], [-sin, cos]])


def ellipse_polygon(centre: ArrayLike, radii: ArrayLike, degrees: float = 0.0) -> list[float]:
    """x0, y0, x1, y1, ... of an ellipse, which is turned about its centre.

    Args:
        centre: x and y.
        radii: two, along the axes that lie along x and y before turning.
    """
    angles = np.linspace(0, 2 * math.pi, _ELLIPSE_POINTS, endpoint=False)
    ring = np.stack([np.cos(angles), np.sin(angles)], axis=1) * np.asarray(radii)
    return (turned(ring, degrees) + np.asarray(centre)).ravel().tolist()


def upright_boxes(boxes: np.ndarray, degrees: np.ndarray) -> np.ndarray:
    """The boxes around rectangles that are turned about their left top corners.

    Args:
        boxes: (N,4) left, top, width, height before turning.
        degrees: (N,).

    Returns:
        (N,4) left, top, width, height.
    """
    x, y, width, height = boxes.T
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    zero = np.zeros_like(x)
    xs = np.stack([zero, width * cos, width * cos - height * sin, -height * sin])
    ys = np.stack([zero, width * sin, width * sin + height * cos, height * cos])
    left, top = x + xs.min(axis=0), y + ys.min(axis=0)
    return np.stack([left, top, np.ptp(xs, axis=0), np.ptp(ys, axis=0)], axis=1)
