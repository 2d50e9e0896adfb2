"""Multi-scale deformable attention (Zhu et al., Deformable DETR, ICLR 2021, eq. 3).

Shapes: B: batch, N: queries, S: tokens of all levels, L: levels, P: points a level and head, h: heads,
C: width, c = C / h, H_l×W_l: grid of level l, F: images whose levels a query sees.
"""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from d2video.layers.bilinear_rows import MAX_ROWS, sum_of_samples
from d2video.layers.recording import SampledAttention
from d2video.utils import triton_support

LevelSizes = list[tuple[int, int]]
OffsetUnit = Literal["wh", "hw"]


def _num_rows(sizes: LevelSizes, heads: int) -> int:
    """Rows that an image has in the table of :func:`_sum_of_rows`."""
    return heads * sum((height + 2) * (width + 2) for height, width in sizes)


def sample_and_sum(value: Tensor, sizes: LevelSizes, locations: Tensor, weights: Tensor) -> Tensor:
    """Bilinear samples of the levels, summed with their weights; zero beyond the borders.

    Args:
        value: (B, S, h, c) float32, level after level, rows of a level one after the other.
        sizes: (H_l, W_l) of the levels; S is their total area.
        locations: (B, N, h, L, P, 2) float32, x and y, 0 and 1 being the outer edges of the border pixels.
        weights: (B, N, h, L, P).

    Returns:
        (B, N, C).
    """
    if _has_kernel(value):
        from d2video.layers import ms_deform_triton

        return ms_deform_triton.sample_and_sum(value, sizes, locations, weights)
    needs_gradient = torch.is_grad_enabled() and (value.requires_grad or locations.requires_grad)
    if value.device.type == "cpu" and not needs_gradient and not torch.compiler.is_exporting():
        parts = max(1, MAX_ROWS // _num_rows(sizes, value.shape[2]))
        inputs = (value.split(parts), locations.split(parts), weights.split(parts))
        return torch.cat([_sum_of_rows(v, sizes, *where) for v, *where in zip(*inputs)])
    return _sum_of_grid_samples(value, sizes, locations, weights)


def _has_kernel(value: Tensor) -> bool:
    """Whether the Triton kernels serve. Not in compiled graphs, where Inductor makes kernels of its own, nor
    where gradients must be deterministic; ``grid_sample`` raises the error that DETERMINISTIC promises."""
    if torch.compiler.is_compiling() or torch.are_deterministic_algorithms_enabled():
        return False
    return triton_support.runs_on(value.device)


def _sum_of_grid_samples(
    value: Tensor, sizes: LevelSizes, locations: Tensor, weights: Tensor
) -> Tensor:
    """By ``grid_sample``, on every device, with gradients, and in graphs (ONNX has it, too)."""
    batch, _, heads, channels = value.shape
    queries = locations.shape[1]
    grids = (2 * locations - 1).permute(3, 0, 2, 1, 4, 5).flatten(1, 2)  # (L, B·h, N, P, 2)
    samples = [
        F.grid_sample(
            level.permute(0, 2, 3, 1).reshape(batch * heads, channels, *size),
            grid,
            align_corners=False,
        )
        for level, size, grid in zip(_split(value, sizes), sizes, grids)
    ]
    stacked = torch.stack(samples, dim=-2).flatten(-2)  # (B·h, c, N, L·P)
    by_head = weights.transpose(1, 2).reshape(batch * heads, 1, queries, -1)
    summed = (stacked * by_head).sum(-1)
    return summed.view(batch, heads * channels, queries).transpose(1, 2)


def _sum_of_rows(value: Tensor, sizes: LevelSizes, locations: Tensor, weights: Tensor) -> Tensor:
    """By :func:`sum_of_samples`: on a CPU without gradients, five times as fast."""
    batch, _, heads, channels = value.shape
    queries, points = locations.shape[1], locations.shape[-2]
    device = value.device
    # A border of zeros around each level answers for points outside of it.
    bordered = [
        F.pad(level.unflatten(1, size), (0, 0, 0, 0, 1, 1, 1, 1)).flatten(1, 2)
        for level, size in zip(_split(value, sizes), sizes)
    ]
    table = torch.cat(bordered, dim=1)
    rows = _num_rows(sizes, heads)
    assert batch * rows <= MAX_ROWS, (batch, rows)
    # Of the h·L·P points of a query, one after the other.
    by_point = (heads, len(sizes), points)
    height, width = (
        torch.tensor(side, dtype=torch.float32, device=device)[:, None].expand(by_point).flatten()
        for side in zip(*sizes, strict=True)
    )
    first = torch.tensor([0] + [level.shape[1] for level in bordered[:-1]]).cumsum(0).to(device)
    head = torch.arange(heads, device=device).view(-1, 1, 1)
    start = (first[:, None] * heads + head).expand(by_point).flatten()
    start = start + torch.arange(batch, device=device).view(-1, 1, 1) * rows
    x, y = locations.flatten(2, 4).unbind(-1)
    summed = sum_of_samples(
        table.view(-1, channels),
        x * width + 0.5,
        y * height + 0.5,
        weights.flatten(2),
        width=width,
        height=height,
        first=start.float(),
        step=heads,
        points=len(sizes) * points,
    )
    return summed.view(batch, queries, heads * channels)


def _as_tensor(sizes: LevelSizes, like: Tensor) -> Tensor:
    """(L, 2), of the type and on the device of another tensor."""
    # Not ``new_tensor``: it waits for a GPU, and makes numbers of the symbols of an export.
    sides = [like.new_full((), side) for size in sizes for side in size]
    return torch.stack(sides).unflatten(0, (-1, 2))


def _split(value: Tensor, sizes: LevelSizes) -> tuple[Tensor, ...]:
    return value.split([height * width for height, width in sizes], dim=1)


class MSDeformAttn(nn.Module):
    """Each query looks at a few learned points around its reference on every level.

    Args:
        width: C, divisible by ``num_heads``.
        num_levels, num_heads, num_points: L (of all images that a query sees), h, P.
        offset_unit: what the offsets of a query with a reference *point* are divided by: "wh", the
            width and height of the level, x by the width (Deformable DETR since December 2020, and
            its released models), or "hw", the other way round, as TrackFormer's official code does
            and, by their dates, its released deformable models need. Offsets of a query with a
            reference *box* are in units of the box, whichever it is.
    """

    def __init__(
        self,
        width: int,
        num_levels: int = 4,
        num_heads: int = 8,
        num_points: int = 4,
        offset_unit: OffsetUnit = "wh",
    ):
        super().__init__()
        if width % num_heads:
            raise ValueError(f"width {width} is not divisible by {num_heads} heads")
        assert offset_unit in ("wh", "hw"), offset_unit
        self.num_levels = num_levels
        self.num_heads = num_heads
        self.num_points = num_points
        self.offset_unit = offset_unit
        per_query = num_heads * num_levels * num_points
        self.sampling_offsets = nn.Linear(width, 2 * per_query)
        self.attention_weights = nn.Linear(width, per_query)
        self.value_proj = nn.Linear(width, width)
        self.output_proj = nn.Linear(width, width)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Equal weights for all points; point p of a head lies p + 1 pixels from the reference, in
        one of h directions on the square around it (the paper's appendix A.2)."""
        angle = torch.arange(self.num_heads) * (2 * math.pi / self.num_heads)
        direction = torch.stack([angle.cos(), angle.sin()], dim=-1)
        direction = direction / direction.abs().amax(-1, keepdim=True)
        steps = torch.arange(1, self.num_points + 1).view(1, -1, 1)
        offsets = (direction[:, None] * steps)[:, None].expand(-1, self.num_levels, -1, -1)
        with torch.no_grad():
            self.sampling_offsets.bias.copy_(offsets.flatten())
        nn.init.zeros_(self.sampling_offsets.weight)
        nn.init.zeros_(self.attention_weights.weight)
        nn.init.zeros_(self.attention_weights.bias)
        for linear in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(
        self,
        query: Tensor,
        reference: Tensor,
        tokens: Tensor,
        sizes: LevelSizes,
        padding: Tensor | None = None,
        seen: Tensor | None = None,
    ) -> Tensor:
        """
        Args:
            query: (B, N, C).
            reference: (B or 1, N, L, 2), points x and y, or (B or 1, N, L, 4), boxes cxcywh, as parts
                of each (padded) level.
            tokens: (B, S, C), the levels one after the other.
            sizes: (H_l, W_l) of the levels of one image.
            padding: (B, S) bool, True = padding, which counts as zero; or None.
            seen: (B, F) int64, the images of the batch whose tokens the queries of each see, such as
                neighbouring frames: L is then F times the levels of one. None: its own only.

        Returns:
            (B, N, C).
        """
        value = self.value_proj(tokens)
        if padding is not None:
            value = value.masked_fill(padding[..., None], 0.0)
        value = value.unflatten(-1, (self.num_heads, -1))
        if seen is not None:
            value = value[seen].flatten(1, 2)
            sizes = sizes * seen.shape[1]
        locations, weights = self._points(query, reference, sizes)
        # In float32 also under autocast: bfloat16 cannot tell neighbouring pixels of a large level apart.
        summed = sample_and_sum(value.float(), sizes, locations.float(), weights.float())
        return self.output_proj(summed.to(query.dtype))

    def _points(self, query: Tensor, reference: Tensor, sizes: LevelSizes) -> tuple[Tensor, Tensor]:
        """Where the queries sample all L levels, (B, N, h, L, P, 2), and the weights (B, N, h, L, P)."""
        assert len(sizes) == self.num_levels == reference.shape[-2], (sizes, reference.shape)
        by_point = (self.num_heads, self.num_levels, self.num_points)
        weights = self.attention_weights(query).unflatten(-1, (self.num_heads, -1)).softmax(-1)
        weights = weights.unflatten(-1, by_point[1:])
        offsets = self.sampling_offsets(query)

        def for_points(of_levels: Tensor) -> Tensor:
            """(..., L, 2) to (..., h·L·P·2): one long row, over which torch is fast."""
            of_points = of_levels[..., None, :, None, :]
            return of_points.expand(*of_levels.shape[:-2], *by_point, 2).flatten(-4)

        centre = for_points(reference[..., :2])
        if reference.shape[-1] == 2:
            unit = _as_tensor(sizes, offsets)
            if self.offset_unit == "wh":
                unit = unit.flip(-1)
            moved = offsets / for_points(unit)
        else:
            moved = offsets * for_points(reference[..., 2:] * (0.5 / self.num_points))
        return (centre + moved).unflatten(-1, (*by_point, 2)), weights

    def recorded(
        self,
        query: Tensor,
        reference: Tensor,
        tokens: Tensor,
        sizes: LevelSizes,
        padding: Tensor | None = None,
        seen: Tensor | None = None,
    ) -> SampledAttention:
        """What :meth:`forward` looks at; see :mod:`d2video.layers.recording`."""
        sizes = sizes * (1 if seen is None else seen.shape[1])
        locations, weights = self._points(query, reference, sizes)
        return SampledAttention(locations.float(), weights, sizes)
