"""Labels on pictures: beside their objects, inside the picture, and clear of each other."""

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np

from d2video.visualization.primitives import draw_label, shorten, text_coverage

# Where a label may stand, best first. Its left is at x0 + a · (x1 - x0) + b · its width, its top at
# y0 + c · (y1 - y0) + d · its height; rows of (a, b, c, d).
BESIDE = np.array(
    [
        *((0, 0, 0, -1), (1, -1, 0, -1), (0, 0, 1, 0), (1, -1, 1, 0)),  # above, below
        *((0, 0, 0, 0), (1, -1, 0, 0), (0, 0, 1, -1), (1, -1, 1, -1)),  # inside, in the corners
        *((1, 0, 0, 0), (0, -1, 0, 0), (1, 0, 1, -1), (0, -1, 1, -1)),  # right, left
        *((0.5, -0.5, 0.5, -0.5), (0, 0, 0, -2), (0, 0, 1, 1)),  # in the middle, farther off
    ]
)
# On a point within the object, and about it.
AROUND = np.array(
    [(0, b, 0, d) for d in (-0.5, -1.5, 0.5, -2.5, 1.5) for b in (-0.5, 0, -1)], dtype=float
)
# In shares of a label that lie over others: what each place costs against the one before it, and what
# a label must gain to leave the place that it had in the last frame.
_RANK, _STAY = 0.004, 0.1
# Where more than this share of all labels lies over others, their font is the next smaller one: a share
# of its usual size, but no less than so many pixels, and with it for the rest of the video, or until half
# of the labels are gone.
_COVERED, _LEVELS, _SMALLEST = 0.02, (1.0, 0.75, 0.55, 0.4), 10


class Label(NamedTuple):
    """A text and what it is of.

    Attributes:
        text: of one line; its end is left out where the picture is too narrow.
        colour: of the ground, RGB.
        box: of the object, (x0, y0, x1, y1) in pixels of the picture; a point if both corners are one.
        key: of the object, the same in all frames; ``None``: unknown.
        tail: the rest of the text, which is kept as long as possible.
    """

    text: str
    colour: tuple[int, int, int]
    box: Sequence[float]
    key: Hashable = None
    tail: str = ""


class LabelPlaces:
    """What the labels of a video keep from frame to frame, so that they do not jump.

    Attributes:
        last: the place of each object's label in the last frame.
        crowd: number of labels for which they became smaller; 0: they have not.
        level: of :data:`_LEVELS`.
    """

    def __init__(self) -> None:
        self.last: dict[Hashable, int] = {}
        self.level = self.crowd = 0


def draw_labels(
    canvas: np.ndarray,
    labels: Sequence[Label],
    font_size: int,
    *,
    where: np.ndarray = BESIDE,
    places: LabelPlaces | None = None,
) -> None:
    """Draw labels into a picture, each at the place where it covers the least of those before it.

    Where they would still cover each other, all become smaller. A text that is wider than the picture is
    shortened.

    Args:
        canvas: uint8 (H,W,3), RGB; changed.
        labels: the most important ones first.
        font_size: in pixels.
        where: the places to choose from, :data:`BESIDE` or :data:`AROUND`.
        places: of the frame before; changed.
    """
    if not labels:
        return
    places = LabelPlaces() if places is None else places
    if len(labels) <= places.crowd / 2:
        places.level = 0
    height, width = canvas.shape[:2]
    boxes = np.array([label.box for label in labels])
    last = [places.last.get(label.key, -1) for label in labels]
    for level in range(places.level, len(_LEVELS)):
        size = max(round(_LEVELS[level] * font_size), min(_SMALLEST, font_size))
        texts = [shorten(label.text, size, width, label.tail) for label in labels]
        sizes = np.array([text_coverage(text, size).shape[::-1] for text in texts])
        corners = _corners(boxes, sizes, where, (width, height))
        chosen, covered = choose_places(corners, sizes, last)
        if covered <= _COVERED:
            break
    if level > places.level:
        places.level, places.crowd = level, len(labels)
    pairs = zip(labels, chosen, strict=True)
    places.last = {label.key: place for label, place in pairs if label.key is not None}
    # The first ones last: nothing covers them.
    for index in reversed(range(len(labels))):
        x, y = corners[index, chosen[index]].tolist()
        draw_label(canvas, texts[index], labels[index].colour, (x, y), size)


def choose_places(
    corners: np.ndarray, sizes: np.ndarray, last: Sequence[int]
) -> tuple[list[int], float]:
    """Choose a place for each label in turn: where it covers the least of those before it.

    Args:
        corners: int (N,K,2), the top left (x, y) of each label at each place, best first.
        sizes: int (N,2), width and height of each label.
        last: each label's place in the frame before; -1: it had none.

    Returns:
        the index of each label's place, and how much of their area lies over others, as a share.
    """
    count, num_places = corners.shape[:2]
    ranks = _RANK * np.arange(num_places)
    areas = sizes.prod(1)
    # Left, top, right, bottom: (4,N,K,1) of all places, (4,N) of the chosen ones so far.
    ends = corners + sizes[:, None]
    edges = np.concatenate([corners, ends], 2, dtype=np.int32).transpose(2, 0, 1)[..., None].copy()
    taken = np.empty((4, count), np.int32)
    chosen: list[int] = []
    total = 0
    for index in range(count):
        left, top, right, bottom = edges[:, index]
        left_of, top_of, right_of, bottom_of = taken[:, :index]
        # (K,n): the common part with each label before it.
        width = np.minimum(right, right_of) - np.maximum(left, left_of)
        height = np.minimum(bottom, bottom_of) - np.maximum(top, top_of)
        covered = (np.maximum(width, 0) * np.maximum(height, 0)).sum(1)
        cost = ranks + covered / areas[index]
        if last[index] >= 0:
            cost[last[index]] -= _STAY
        best = int(cost.argmin())
        taken[:, index] = edges[:, index, best, 0]
        chosen.append(best)
        total += int(covered[best])
    return chosen, total / int(areas.sum())


def _corners(
    boxes: np.ndarray, sizes: np.ndarray, where: np.ndarray, picture: tuple[int, int]
) -> np.ndarray:
    """The top lefts, int (N,K,2), moved inside a picture (width, height) where they would stick out."""
    sides = boxes[:, 2:] - boxes[:, :2]
    corners = boxes[:, None, :2] + where[:, 0::2] * sides[:, None] + where[:, 1::2] * sizes[:, None]
    room = np.maximum(np.array(picture) - sizes, 0)
    return corners.round().astype(int).clip(0, room[:, None])
