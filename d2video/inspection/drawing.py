"""Pictures of attention: heat over a frame, sampled points, rows of pictures.

Shapes: H×W: a picture, H_f×W_f: a feature map, K: points.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from torch import Tensor

from d2video.visualization import samples
from d2video.visualization.primitives import draw_label, label_font_size
from d2video.visualization.samples import captioned

_MARK = (255, 255, 255)
_SMALL = 0.03  # part of the image


def heat(frame: np.ndarray, weights: Tensor, largest: float | None = None) -> np.ndarray:
    """A frame in grey under the weights in colour, from dark violet (0) to yellow (the largest).

    Args:
        frame: uint8 (H, W, 3), RGB.
        weights: (H_f, W_f), 0 or more, of the whole frame.
        largest: the weight that is shown brightest, to compare pictures; None: that of ``weights``.

    Returns:
        uint8 (H, W, 3), RGB.
    """
    height, width = frame.shape[:2]
    top = float(weights.max()) if largest is None else largest
    part = (weights.float().cpu().numpy() / max(top, 1e-12)).clip(0, 1)
    part = cv2.resize(part, (width, height), interpolation=cv2.INTER_LINEAR)
    colours = cv2.applyColorMap((255 * part).astype(np.uint8), cv2.COLORMAP_INFERNO)[:, :, ::-1]
    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)[:, :, None]
    return (0.35 * grey + 0.65 * colours).astype(np.uint8)


def points(frame: np.ndarray, locations: Tensor, weights: Tensor) -> np.ndarray:
    """A frame with the points that deformable attention samples; larger and brighter dots weigh more.

    Args:
        frame: uint8 (H, W, 3), RGB.
        locations: (K, 2), x and y as parts of the frame; those outside of it are left out.
        weights: (K,).

    Returns:
        uint8 (H, W, 3), RGB.
    """
    canvas = (0.55 * frame).astype(np.uint8)
    height, width = frame.shape[:2]
    where = (locations.float().cpu() * locations.new_tensor([width, height]).cpu()).round().int()
    part = (weights.float().cpu() / weights.max().clamp(min=1e-12).cpu()).numpy()
    shades = (255 * part).astype(np.uint8)[:, None]
    colours = cv2.applyColorMap(shades, cv2.COLORMAP_INFERNO)[:, 0, ::-1]
    radius = max(2, round(min(height, width) / 60))
    for row in part.argsort():  # the heaviest on top
        centre = (int(where[row, 0]), int(where[row, 1]))
        colour = tuple(map(int, colours[row]))
        cv2.circle(
            canvas, centre, max(1, round(radius * part[row] ** 0.5)), colour, -1, cv2.LINE_AA
        )
    return canvas


def mark(picture: np.ndarray, point: tuple[float, float]) -> np.ndarray:
    """The picture with a cross at a point, x and y as parts of it."""
    centre = (int(point[0] * picture.shape[1]), int(point[1] * picture.shape[0]))
    size = max(9, min(picture.shape[:2]) // 16)
    picture = picture.copy()
    for colour, thickness in (((0, 0, 0), 4), (_MARK, 2)):
        cv2.drawMarker(picture, centre, colour, cv2.MARKER_CROSS, size, thickness, cv2.LINE_AA)
    return picture


def boxed(
    picture: np.ndarray,
    box: Tensor | Sequence[float],
    colour: tuple[int, int, int] = _MARK,
    label: str = "",
) -> np.ndarray:
    """The picture with a box, cxcywh as parts of it, and a label at its upper left corner."""
    cx, cy, w, h = map(float, box)
    height, width = picture.shape[:2]
    low = (round((cx - w / 2) * width), round((cy - h / 2) * height))
    high = (round((cx + w / 2) * width), round((cy + h / 2) * height))
    canvas = cv2.rectangle(picture.copy(), low, high, colour, 2, cv2.LINE_AA)
    if label:
        corner = (min(max(low[0], 0), width - 1), min(max(low[1], 0), height - 1))
        draw_label(canvas, label, colour, corner, label_font_size(canvas))
    return canvas


def sheet(
    pictures: Sequence[np.ndarray], titles: Sequence[str], columns: int | None = None
) -> np.ndarray:
    """Pictures of one size side by side, each with its title in the lower left corner.

    Args:
        columns: in a row; by default all stand in one.
    """
    cells = [captioned(each.copy(), title) for each, title in zip(pictures, titles, strict=True)]
    return samples.sheet(cells, columns or len(cells))


def box_scatter(boxes: Tensor, side: int = 160) -> np.ndarray:
    """The centres of boxes (M, 4), cxcywh as parts of their images, as dots on black: green for boxes of
    less than 3 % of the image, red for wide ones, blue for high ones (DETR, figure 7).

    Returns:
        uint8 (side, side, 3), RGB.
    """
    canvas = np.zeros((side, side, 3), np.uint8)
    boxes = boxes.float().cpu()
    x, y = ((boxes[:, axis].clamp(0, 1) * (side - 1)).round().long().numpy() for axis in (0, 1))
    small, wide = boxes[:, 2] * boxes[:, 3] < _SMALL, boxes[:, 2] >= boxes[:, 3]
    shades = np.array([[90, 120, 255], [255, 80, 80], [80, 230, 110]], np.uint8)
    kind = np.where(small.numpy(), 2, wide.numpy().astype(int))
    for dy, dx in ((0, 0), (0, 1), (1, 0), (1, 1)):  # dots of two pixels a side
        canvas[(y + dy).clip(max=side - 1), (x + dx).clip(max=side - 1)] = shades[kind]
    return canvas
