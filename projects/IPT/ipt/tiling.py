"""Whole images by a network that knows patches of one size only.

Shapes: n patches at once, p pixels a side of a patch, s scale, (h,w) an image, (s·h,s·w) its answer.

Both modes are one sum: each patch's answer, times a weight for each of its pixels, is added at its
place, and the weights of the patches that share a pixel sum to 1. A weight map is the outer product of
one vector for each axis. The modes differ in where patches begin and in these vectors.
"""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from d2video.utils.errors import UserError

PatchModel = Callable[[Tensor], Tensor]
Mode = Literal["official", "fast"]


class Axis(NamedTuple):
    """The patches along one axis.

    Attributes:
        starts: n first pixels, ascending.
        weights: float (n, p·s), of each output pixel of each patch.
    """

    starts: list[int]
    weights: Tensor

    def positions(self, scale: int) -> Tensor:
        """Where each output pixel of each patch lies in the answer, int64 (n, p·s)."""
        return _positions(self.starts, self.weights.shape[1], scale)


def official_axis(size: int, patch_size: int, scale: int) -> Axis:
    """Patches every p/4 pixels, and one more at the end where that leaves a rest.

    The official ``forward_chop``: of a patch counts its inner half, where two of them overlap their
    mean; but the first p/4 pixels are those of the first patch alone, and the end, from the middle of
    what the last two share, those of the last one alone, without blending.

    Args:
        size: of the image along the axis, at least ``patch_size``.
        patch_size: a multiple of 4.
    """
    quarter, last = patch_size // 4, size - patch_size
    rest = last % quarter
    starts = [*range(0, last + 1, quarter), *([last] if rest else [])]
    positions = _positions(starts, patch_size * scale, scale)
    inside = torch.arange(patch_size * scale)
    tail = _first_of_tail(size, patch_size, scale)
    head = quarter * scale
    used = (inside >= head) & (inside < (patch_size - quarter) * scale) & (positions < tail)
    if rest:
        used[-1] = False  # it is none of the regular ones
    used[0] |= positions[0] < head
    used[-1] |= positions[-1] >= tail
    return Axis(starts, _normalized(used.float(), positions))


def smooth_axis(size: int, patch_size: int, scale: int) -> Axis:
    """As few patches as overlap by p/4 or more, evenly spread, blended by a raised cosine.

    Args:
        size: of the image along the axis, at least ``patch_size``.
    """
    overlap, last = patch_size // 4, size - patch_size
    steps = -(-last // (patch_size - overlap))
    starts = [round(last * i / steps) for i in range(steps + 1)] if steps else [0]
    pixels = patch_size * scale
    # Pixel centres in a patch, from its nearer edge: never 0, so that borders of the image count.
    centre = torch.arange(pixels) + 0.5
    depth = torch.minimum(centre, pixels - centre) / max(1, overlap * scale)
    window = torch.sin(depth.clamp(max=1) * (torch.pi / 2)).square()
    positions = _positions(starts, pixels, scale)
    return Axis(starts, _normalized(window.expand(len(starts), -1), positions))


def restore(
    patch_model: PatchModel,
    images: Sequence[Tensor],
    *,
    patch_size: int,
    scale: int,
    mode: Mode = "fast",
    patches_at_once: int = 16,
    official_corner: bool = True,
) -> list[Tensor]:
    """Answers to whole images; each is what it would be alone.

    Every patch runs once. Besides the images and answers, memory holds ``patches_at_once`` patches.

    Args:
        patch_model: float (n,3,p,p) → (n,3,s·p,s·p).
        images: (3,h,w) each, of any sizes, float, on the device of the model.
        patch_size: p.
        scale: s.
        mode: "official" for the official numbers, :func:`official_axis`; "fast" for about a seventh
            of the patches, :func:`smooth_axis`.
        patches_at_once: n at most.
        official_corner: in the official mode, take the first p/4 rows of the first p columns from
            the first patch alone, as the official code does (the strip at the left is blended).

    Returns:
        float (3,s·h,s·w) for each image.

    Raises:
        UserError: in the official mode, an image is smaller than a patch, which the official code
            refuses too, or ``patch_size`` is no multiple of 4. The fast mode mirrors small images
            beyond their right and lower edges, and cuts their answers.
    """
    if mode == "official" and patch_size % 4:
        raise UserError(f"official tiling needs a patch size that 4 divides, not {patch_size}")
    canvases = [
        _Canvas(image, patch_size, scale, mode, official_corner and mode == "official")
        for image in images
    ]
    jobs = [(canvas, index) for canvas in canvases for index in range(len(canvas))]
    for first in range(0, len(jobs), patches_at_once):
        some = jobs[first : first + patches_at_once]
        answers = patch_model(torch.stack([canvas.patch(index) for canvas, index in some]))
        for (canvas, index), answer in zip(some, answers, strict=True):
            canvas.add(index, answer)
    return [canvas.answer() for canvas in canvases]


class _Canvas:
    """The answer to one image while its patches come in; patches are numbered row by row."""

    def __init__(
        self, image: Tensor, patch_size: int, scale: int, mode: Mode, corner: bool
    ) -> None:
        height, width = image.shape[-2:]
        if mode == "official" and min(height, width) < patch_size:
            raise UserError(
                f"official tiling needs images of {patch_size} pixels a side or more, not "
                f"{width}x{height}: set MODEL.IPT.TILING fast"
            )
        self._size = (height * scale, width * scale)
        self._image = _extended(_extended(image, -2, patch_size), -1, patch_size)
        self._patch_size, self._scale = patch_size, scale
        height, width = self._image.shape[-2:]
        plan = official_axis if mode == "official" else smooth_axis
        self._y = plan(height, patch_size, scale)
        self._x = plan(width, patch_size, scale)
        self._wy, self._wx = (axis.weights.to(image.device) for axis in (self._y, self._x))
        self._corner = None
        if corner:
            # Of the top strip: which of each patch's columns are the first patch's own.
            end = min(patch_size * scale, _first_of_tail(width, patch_size, scale))
            self._corner = (self._x.positions(scale) < end).to(image.device)
        self._sum = image.new_zeros((3, height * scale, width * scale), dtype=torch.float32)

    def __len__(self) -> int:
        return len(self._y.starts) * len(self._x.starts)

    def patch(self, index: int) -> Tensor:
        """The patch (3,p,p)."""
        y, x = self._place(index)
        p = self._patch_size
        return self._image[:, y : y + p, x : x + p]

    def add(self, index: int, answer: Tensor) -> None:
        """Take the answer to a patch, (3,s·p,s·p)."""
        pixels = self._patch_size * self._scale
        assert answer.shape == (3, pixels, pixels), answer.shape
        row, column = divmod(index, len(self._x.starts))
        weights = self._wy[row][:, None] * self._wx[column]
        if self._corner is not None and row == 0:
            strip = weights[: self._patch_size // 4 * self._scale]
            strip[:, self._corner[column]] = float(column == 0)
        y, x = (start * self._scale for start in self._place(index))
        # A slice for each patch: they overlap, so that one indexed addition of all would have to be
        # an atomic one, whose result differs from run to run on a GPU.
        self._sum[:, y : y + pixels, x : x + pixels].addcmul_(
            answer.to(self._sum.dtype), weights.expand_as(answer)
        )

    def answer(self) -> Tensor:
        """What has come in, float (3,s·h,s·w)."""
        height, width = self._size
        return self._sum[:, :height, :width]

    def _place(self, index: int) -> tuple[int, int]:
        row, column = divmod(index, len(self._x.starts))
        return self._y.starts[row], self._x.starts[column]


def _first_of_tail(size: int, patch_size: int, scale: int) -> int:
    """Where the last patch alone counts in the official mode."""
    last = size - patch_size
    return last * scale + int((patch_size - last % (patch_size // 4)) / 2 * scale + 0.5)


def _positions(starts: Sequence[int], pixels: int, scale: int) -> Tensor:
    return torch.tensor(starts)[:, None] * scale + torch.arange(pixels)


def _normalized(weights: Tensor, positions: Tensor) -> Tensor:
    """Weights (n,p·s) that sum to 1 at each of the positions."""
    total = torch.zeros(int(positions.max()) + 1)
    total.index_add_(0, positions.flatten(), weights.flatten())
    assert (total > 0).all(), "a pixel that no patch gives"
    return weights / total[positions]


def _extended(image: Tensor, dim: int, size: int) -> Tensor:
    """The image, mirrored at its end (as often as it takes) to at least ``size`` along ``dim``."""
    length = image.shape[dim]
    if length >= size:
        return image
    index = torch.arange(size, device=image.device) % max(1, 2 * (length - 1))
    return image.index_select(dim, (length - 1) - (index - (length - 1)).abs())
