"""A panel below a picture: the best classes as bars, and their scores so far as curves."""

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor

from d2video.structures.class_scores import top_classes
from d2video.visualization.options import DEFAULT_TOPK
from d2video.visualization.primitives import (
    draw_text,
    label_font_size,
    label_of_class,
    shorten,
    text_coverage,
    track_colour,
)

_BACKGROUND, _GRID, _INK = (24, 26, 30), (70, 74, 82), (235, 236, 240)
# From this width on, in pixels, the bars stand beside the curves, not above them.
_SIDE_BY_SIDE = 720
_MAX_ENTRIES = 1024  # of a history


class ScoreHistory:
    """The class scores of a video so far, in bounded memory.

    The first frame, every N-th one after it and the newest are kept. N grows with the video: the
    curves of a long one get coarser, but still show all of it.
    """

    def __init__(self) -> None:
        self._stride = 1
        self._count = 0
        # The last entry is the newest frame's, even if it will not be kept.
        self._entries: list[tuple[float, Tensor]] = []

    def add(self, time: float, scores: Tensor) -> None:
        """Take in the next frame: seconds since the first one, and float (K,), 0 to 1."""
        if self._count and (self._count - 1) % self._stride:
            self._entries.pop()
        if len(self._entries) == _MAX_ENTRIES:
            del self._entries[1::2]
            self._stride *= 2
        self._entries.append((time, scores))
        self._count += 1

    def curves(self, classes: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Times, float64 (n,), and the classes' scores then, float32 (n, len(classes))."""
        times, scores = zip(*self._entries, strict=True)
        return np.array(times), torch.stack(scores)[:, list(classes)].float().numpy()


def add_class_panel(
    picture: np.ndarray,
    scores: Tensor,
    class_names: Sequence[str] | None = None,
    *,
    topk: int = DEFAULT_TOPK,
    label_size: float = 1.0,
    history: ScoreHistory | None = None,
) -> np.ndarray:
    """Put a panel under a picture: a bar for each of the best classes, best first, and curves.

    A class has one colour, in bars and curves and from frame to frame.

    Args:
        picture: uint8 (H,W,3), RGB; stays as it is.
        scores: float (K,), 0 to 1.
        class_names: by class index; ``None`` shows the index.
        topk: number of classes, at least 1.
        label_size: of the texts, times the size that suits the picture.
        history: up to this frame, already added; ``None``: no curves.

    Returns:
        uint8 (H',W,3), RGB, whose first H rows are the picture. H' depends only on the picture's
        size, ``topk``, K, ``label_size``, and whether there is a history.

    Raises:
        UserError: a class has no name in ``class_names``.
    """
    best = top_classes(scores, topk)
    width, font_size = picture.shape[1], label_font_size(picture, label_size)
    line = round(1.7 * font_size)
    bars = np.full((line * len(best) + line // 2, width, 3), _BACKGROUND, np.uint8)
    panels = [bars]
    if history is not None and width >= _SIDE_BY_SIDE:
        _draw_curves(bars[:, width // 2 + font_size :], best, history, font_size)
        bars = bars[:, : width // 2]
    elif history is not None:
        panels.append(np.full((5 * line, width, 3), _BACKGROUND, np.uint8))
        _draw_curves(panels[-1], best, history, font_size)
    _draw_bars(bars, best, class_names, font_size)
    return np.concatenate([picture, *panels])


def _draw_bars(
    canvas: np.ndarray,
    best: Sequence[tuple[int, float]],
    class_names: Sequence[str] | None,
    font_size: int,
) -> None:
    """A line a class: its name, a bar as long as its score, and the score in percent."""
    width = canvas.shape[1]
    margin, line = font_size // 2, round(1.7 * font_size)
    names = [label_of_class(index, class_names) for index, _ in best]
    number_width = text_coverage("100.0 %", font_size).shape[1]
    widest = max(text_coverage(name, font_size).shape[1] for name in names)
    # The bars end before the numbers; a long name gives way to them.
    left = min(widest, (width - number_width) // 2) + margin
    right = width - number_width - margin
    for row, (name, (index, score)) in enumerate(zip(names, best, strict=True)):
        top = margin // 2 + row * line
        name = shorten(name, font_size, left - 2)
        draw_text(canvas[:, : left - 2], name, (0, top), font_size, _INK)
        bottom = top + line - margin
        if right > left:
            cv2.rectangle(canvas, (left, top + 2), (right, bottom), _GRID, -1)
            end = left + round(min(max(score, 0), 1) * (right - left))
            cv2.rectangle(canvas, (left, top + 2), (end, bottom), track_colour(index), -1)
        _draw_right_aligned(canvas, f"{100 * score:.1f} %", width, top, font_size)


def _draw_curves(
    canvas: np.ndarray,
    best: Sequence[tuple[int, float]],
    history: ScoreHistory,
    font_size: int,
) -> None:
    """The scores, 0 to 100 %, over time from the first frame to this one."""
    height, width = canvas.shape[:2]
    classes = [index for index, _ in best]
    times, scores = history.curves(classes)
    label_height = text_coverage("0 s", font_size).shape[0]  # that of every text
    left = text_coverage("100", font_size).shape[1] + 2
    right, top, bottom = width - font_size, font_size, height - label_height
    if right <= left or bottom <= top:
        return  # too small for curves
    for share in (0, 50, 100):
        y = round(bottom - share / 100 * (bottom - top))
        cv2.line(canvas, (left, y), (right, y), _GRID, 1)
        _draw_right_aligned(canvas, str(share), left, y - label_height // 2, font_size)
    draw_text(canvas, "0 s", (left, bottom), font_size, _INK)
    text = f"{times[-1]:.1f} s"
    labels_width = sum(text_coverage(label, font_size).shape[1] for label in ("0 s", text))
    if right - left > labels_width:
        _draw_right_aligned(canvas, text, right, bottom, font_size)
    x = left + times / max(times[-1], 1e-6) * (right - left)
    y = bottom - scores.clip(0, 1) * (bottom - top)
    fractional_bits = 4  # OpenCV takes fixed-point coordinates
    thickness = max(1, font_size // 8)
    # The best class last, over the others.
    for column, index in reversed(list(enumerate(classes))):
        points = (2**fractional_bits * np.stack([x, y[:, column]], 1)).round().astype(np.int32)
        colour = track_colour(index)
        cv2.polylines(
            canvas, [points[:, None]], False, colour, thickness, cv2.LINE_AA, fractional_bits
        )
        end = (round(float(x[-1])), round(float(y[-1, column])))
        cv2.circle(canvas, end, thickness + 1, colour, -1, cv2.LINE_AA)


def _draw_right_aligned(
    canvas: np.ndarray, text: str, right: int, top: int, font_size: int
) -> None:
    left = right - text_coverage(text, font_size).shape[1]
    draw_text(canvas, text, (left, top), font_size, _INK)
