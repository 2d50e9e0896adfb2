"""The sampled sums of multi-scale deformable attention in two Triton kernels, for GPUs.

A program of a kernel answers for a block of queries of one head. It reads the four pixels around each
point and never writes samples to memory, which the form of ``grid_sample`` does. The backward kernel reads
them again.

Shapes as in :mod:`d2video.layers.ms_deform_attn`. This module imports Triton; ask
:func:`d2video.utils.triton_support.runs_on` first.
"""

import functools
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

_QUERIES = 16  # of a program


@triton.jit
def _rows(queries, heads, QUERIES: tl.constexpr):
    """The image and the head of this program; the rows (image, query, head) of its queries, which of these
    exist."""
    image, head = tl.program_id(1) // heads, tl.program_id(1) % heads
    query = tl.program_id(0) * QUERIES + tl.arange(0, QUERIES)
    image = image.to(tl.int64)
    return image, head, (image * queries + query) * heads + head, query < queries


@triton.jit
def _level(levels, level):
    """Height, width and first token of a level."""
    row = levels + 3 * level
    return tl.load(row), tl.load(row + 1), tl.load(row + 2)


@triton.jit
def _point(locations, weights, index, height, width, exists):
    """The pixel (left, top) up and left of a point of each query, how far right of it and below it the point
    is, and the point's weight."""
    x = tl.load(locations + 2 * index, exists, 0.0) * width - 0.5
    y = tl.load(locations + 2 * index + 1, exists, 0.0) * height - 0.5
    left, top = tl.floor(x), tl.floor(y)
    return left, top, x - left, y - top, tl.load(weights + index, exists, 0.0)


@triton.jit
def _corner(base, x, y, width, height, stride, inside, channels, real_channels):
    """Offsets (Q, c) of pixel (y, x) of each query, and which of them exist. x and y are whole numbers."""
    inside = inside & (x >= 0) & (x < width) & (y >= 0) & (y < height)
    pixel = tl.where(inside, y * width + x, 0.0).to(tl.int64)
    offset = base + pixel[:, None] * stride + channels[None, :]
    return offset, inside[:, None] & real_channels[None, :]


@triton.jit
def _forward(
    value, levels, locations, weights, out,
    tokens, queries, heads, width_of_head,
    LEVELS: tl.constexpr, POINTS: tl.constexpr, QUERIES: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    image, head, row, exists = _rows(queries, heads, QUERIES)
    channels = tl.arange(0, CHANNELS)
    real_channels = channels < width_of_head
    stride = heads * width_of_head
    total = tl.zeros((QUERIES, CHANNELS), tl.float32)
    for level in range(LEVELS):
        height, width, start = _level(levels, level)
        base = (image * tokens + start) * stride + head * width_of_head
        for point in range(POINTS):
            index = (row * LEVELS + level) * POINTS + point
            left, top, right_part, bottom_part, weight = _point(
                locations, weights, index, height, width, exists
            )
            for corner in tl.static_range(4):
                part_x = right_part if corner % 2 else 1 - right_part
                part_y = bottom_part if corner // 2 else 1 - bottom_part
                offset, inside = _corner(
                    base, left + corner % 2, top + corner // 2,
                    width, height, stride, exists, channels, real_channels,
                )  # fmt: skip
                total += (weight * part_x * part_y)[:, None] * tl.load(value + offset, inside, 0.0)
    where = out + row[:, None] * width_of_head + channels[None, :]
    tl.store(where, total, exists[:, None] & real_channels[None, :])


@triton.jit
def _backward(
    value, levels, locations, weights, grad_out, grad_value, grad_locations, grad_weights,
    tokens, queries, heads, width_of_head,
    LEVELS: tl.constexpr, POINTS: tl.constexpr, QUERIES: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    image, head, row, exists = _rows(queries, heads, QUERIES)
    channels = tl.arange(0, CHANNELS)
    real_channels = channels < width_of_head
    stride = heads * width_of_head
    where = grad_out + row[:, None] * width_of_head + channels[None, :]
    grad = tl.load(where, exists[:, None] & real_channels[None, :], 0.0)
    for level in range(LEVELS):
        height, width, start = _level(levels, level)
        base = (image * tokens + start) * stride + head * width_of_head
        for point in range(POINTS):
            index = (row * LEVELS + level) * POINTS + point
            left, top, right_part, bottom_part, weight = _point(
                locations, weights, index, height, width, exists
            )
            grad_x = tl.zeros((QUERIES,), tl.float32)
            grad_y = tl.zeros((QUERIES,), tl.float32)
            grad_weight = tl.zeros((QUERIES,), tl.float32)
            for corner in tl.static_range(4):
                part_x = right_part if corner % 2 else 1 - right_part
                part_y = bottom_part if corner // 2 else 1 - bottom_part
                offset, inside = _corner(
                    base, left + corner % 2, top + corner // 2,
                    width, height, stride, exists, channels, real_channels,
                )  # fmt: skip
                found = tl.sum(grad * tl.load(value + offset, inside, 0.0), axis=1)
                grad_weight += part_x * part_y * found
                grad_x += (part_y if corner % 2 else -part_y) * found
                grad_y += (part_x if corner // 2 else -part_x) * found
                share = (weight * part_x * part_y)[:, None] * grad
                tl.atomic_add(grad_value + offset, share, inside)
            tl.store(grad_locations + 2 * index, grad_x * weight * width, exists)
            tl.store(grad_locations + 2 * index + 1, grad_y * weight * height, exists)
            tl.store(grad_weights + index, grad_weight, exists)


@functools.lru_cache(maxsize=256)
def _levels(sizes: tuple[tuple[int, int], ...], device: torch.device) -> Tensor:
    """(L, 3) int32: height, width and first token of each level.

    It is cached because the host waits when it copies it to the device.
    """
    rows, first = [], 0
    for height, width in sizes:
        rows.append((height, width, first))
        first += height * width
    return torch.tensor(rows, dtype=torch.int32, device=device)


def _launch(
    kernel: Any, sizes: list[tuple[int, int]], value: Tensor, locations: Tensor, *tensors: Tensor
) -> None:
    batch, tokens, heads, channels = value.shape
    queries, points = locations.shape[1], locations.shape[-2]
    grid = (triton.cdiv(queries, _QUERIES), batch * heads)
    with torch.cuda.device_of(value):
        kernel[grid](
            value,
            _levels(tuple(sizes), value.device),
            locations,
            *tensors,
            tokens,
            queries,
            heads,
            channels,
            LEVELS=len(sizes),
            POINTS=points,
            QUERIES=_QUERIES,
            CHANNELS=triton.next_power_of_2(channels),
        )


class _SampleAndSum(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, value: Tensor, sizes: list[tuple[int, int]], locations: Tensor, weights: Tensor
    ) -> Tensor:
        value, locations, weights = value.contiguous(), locations.contiguous(), weights.contiguous()
        ctx.save_for_backward(value, locations, weights)
        ctx.sizes = sizes
        out = value.new_empty(*locations.shape[:2], value.shape[2] * value.shape[3])
        if out.numel():
            _launch(_forward, sizes, value, locations, weights, out)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        value, locations, weights = ctx.saved_tensors
        # Several queries see the same pixel, so that the gradients of values are sums of atomic additions.
        grads = (
            torch.zeros_like(value),
            torch.empty_like(locations),
            torch.empty_like(weights),
        )
        if grad.numel():
            _launch(_backward, ctx.sizes, value, locations, weights, grad.contiguous(), *grads)
        return grads[0], None, grads[1], grads[2]


def sample_and_sum(
    value: Tensor, sizes: list[tuple[int, int]], locations: Tensor, weights: Tensor
) -> Tensor:
    """As :func:`d2video.layers.ms_deform_attn.sample_and_sum`, of float32 on a GPU.

    Gradients are right to rounding; the order of their sums is not fixed.
    """
    assert value.dtype == locations.dtype == weights.dtype == torch.float32
    return _SampleAndSum.apply(value, sizes, locations, weights)
