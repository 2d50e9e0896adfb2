"""Whole images by a network that knows patches of one size only.

Shapes: n patches at once, p pixels a side of a patch, s scale, (h,w) an image, (s·h,s·w) its answer.

A tiling is one sum: each patch's answer, times a weight for each of its pixels, is added at its place,
and the weights of the patches that share a pixel sum to 1. A weight map is the outer product of one
vector for each axis. Tilings differ in where patches begin and in these vectors. Images are tensors, or
numpy arrays where an exported model runs without torch.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np


class Axis(NamedTuple):
    """The patches along one axis.

    Attributes:
        starts: n first pixels, ascending.
        weights: float32 (n, p·s), of each output pixel of each patch.
    """

    starts: list[int]
    weights: Any


@dataclass(frozen=True)
class Tiling:
    """As few patches as overlap by p/4 or more, evenly spread, blended by a raised cosine. Small
    images are mirrored beyond their right and lower edges, and their answers are cut.

    Args:
        patch_size: p.
    """

    patch_size: int

    def extended(self, image: Any) -> Any:
        """An image (3,h,w) with at least p pixels a side."""
        height, width = image.shape[-2:]
        if min(height, width) >= self.patch_size:
            return image
        return image[:, _mirrored(height, self.patch_size)][..., _mirrored(width, self.patch_size)]

    def axis(self, size: int, scale: int) -> Axis:
        """The patches along an axis of ``size`` pixels of the image, at least p."""
        overlap, last = self.patch_size // 4, size - self.patch_size
        steps = -(-last // (self.patch_size - overlap))
        starts = [round(last * i / steps) for i in range(steps + 1)] if steps else [0]
        pixels = self.patch_size * scale
        # Pixel centres in a patch, from its nearer edge: never 0, so that borders of the image count.
        centre = np.arange(pixels) + 0.5
        depth = np.minimum(centre, pixels - centre) / max(1, overlap * scale)
        window = np.square(np.sin(np.minimum(depth, 1) * (np.pi / 2)))
        positions = positions_of(starts, pixels, scale)
        return Axis(starts, normalized(np.broadcast_to(window, positions.shape), positions))

    def weights(self, y: Axis, x: Axis, row: int, column: int) -> Any:
        """The weight map (p·s,p·s) of a patch, of its own memory."""
        return y.weights[row][:, None] * x.weights[column]


def restore_by_patches(
    patch_model: Callable[[list[Any]], Iterable[Any]],
    images: Sequence[Any],
    *,
    tiling: Tiling,
    scale: int,
    patches_at_once: int,
    converted: Callable[[np.ndarray], Any] = np.asarray,
) -> list[Any]:
    """Answers to whole images; each is what it would be alone.

    Every patch runs once. Besides the images and answers, memory holds ``patches_at_once`` patches.

    Args:
        patch_model: n patches, float (3,p,p), to n answers (3,s·p,s·p).
        images: (3,h,w) each, of any sizes, float.
        tiling: where patches lie and how they are blended.
        scale: s.
        patches_at_once: n at most.
        converted: numpy arrays to what the images are.

    Returns:
        float32 (3,s·h,s·w) for each image.

    Raises:
        UserError: the tiling refuses an image.
    """
    canvases = [_Canvas(image, tiling, scale, converted) for image in images]
    jobs = [(canvas, index) for canvas in canvases for index in range(len(canvas))]
    for first in range(0, len(jobs), patches_at_once):
        some = jobs[first : first + patches_at_once]
        answers = patch_model([canvas.patch(index) for canvas, index in some])
        for (canvas, index), answer in zip(some, answers, strict=True):
            canvas.add(index, answer)
    return [canvas.answer() for canvas in canvases]


class _Canvas:
    """The answer to one image while its patches come in; patches are numbered row by row."""

    def __init__(
        self, image: Any, tiling: Tiling, scale: int, converted: Callable[[np.ndarray], Any]
    ) -> None:
        self._size = (image.shape[-2] * scale, image.shape[-1] * scale)
        self._image = tiling.extended(image)
        self._tiling, self._scale = tiling, scale
        height, width = self._image.shape[-2:]
        self._y, self._x = (
            axis._replace(weights=converted(axis.weights))
            for axis in (tiling.axis(height, scale), tiling.axis(width, scale))
        )
        self._sum = converted(np.zeros((3, height * scale, width * scale), np.float32))

    def __len__(self) -> int:
        return len(self._y.starts) * len(self._x.starts)

    def patch(self, index: int) -> Any:
        """The patch (3,p,p)."""
        row, column = divmod(index, len(self._x.starts))
        y, x, p = self._y.starts[row], self._x.starts[column], self._tiling.patch_size
        return self._image[:, y : y + p, x : x + p]

    def add(self, index: int, answer: Any) -> None:
        """Take the answer to a patch, (3,s·p,s·p)."""
        pixels = self._tiling.patch_size * self._scale
        assert answer.shape == (3, pixels, pixels), answer.shape
        row, column = divmod(index, len(self._x.starts))
        weights = self._tiling.weights(self._y, self._x, row, column)
        y, x = self._y.starts[row] * self._scale, self._x.starts[column] * self._scale
        # A slice for each patch: they overlap, so that one indexed addition of all would have to be
        # an atomic one, whose result differs from run to run on a GPU.
        self._sum[:, y : y + pixels, x : x + pixels] += answer * weights

    def answer(self) -> Any:
        """What has come in, float (3,s·h,s·w)."""
        height, width = self._size
        return self._sum[:, :height, :width]


def positions_of(starts: Sequence[int], pixels: int, scale: int) -> np.ndarray:
    """Where each output pixel of each patch lies in the answer, int64 (n, p·s)."""
    return np.array(starts)[:, None] * scale + np.arange(pixels)


def normalized(weights: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Weights (n,p·s) that sum to 1 at each of the positions, float32."""
    total = np.bincount(positions.ravel(), weights.ravel())
    assert (total > 0).all(), "a pixel that no patch gives"
    return (weights / total[positions]).astype(np.float32)


def _mirrored(length: int, size: int) -> np.ndarray:
    """The pixels of an axis, mirrored at its end (as often as it takes) to at least ``size``."""
    if length >= size:
        return np.arange(length)
    index = np.arange(size) % max(1, 2 * (length - 1))
    return (length - 1) - np.abs(index - (length - 1))
