"""Deformable convolution (Dai et al., 2017) without a compiled extension of our own.

Shapes: N: batch, C: input channels, O: output channels, K: kernel positions (9), H×W: feature map.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import deform_conv2d

from d2video.layers.bilinear_rows import sum_of_samples

TAPS = 9

# Of the largest tensor of a part of the batch, the table of products: 16 MB in float32, which the caches
# of a CPU hold. Its rows are fewer than the 2^24 that float32 can count.
_ELEMENTS = 2**22


def deform_conv2d_sampled(x: Tensor, offset: Tensor, weight: Tensor) -> Tensor:
    """A 3×3 deformable convolution with padding 1 in plain torch.

    Equal to torchvision's ``deform_conv2d(x, offset, weight, padding=1)``, zero outside the map
    included. Sampling and the product with the weights are both linear, so the product comes first: each
    pixel is multiplied by the weights of all K positions, and K sampled values are summed for each
    output. That samples K·O instead of K·C channels, and nothing of that size is kept for the backward
    pass, which computes the products again.

    torchvision's operator is the better one on a GPU; on a CPU its backward pass is several times slower
    (figures in docs/performance/figures.md).

    Args:
        x: (N, C, H, W), float32 or, for a faster sum of less precise products, of 16 bits.
        offset: (N, 2K, H, W), in pixels: channel 2k moves kernel position k down, 2k+1 to the right.
        weight: (O, C, 3, 3).

    Returns:
        (N, O, H, W), of the type of x.
    """
    if torch.compiler.is_exporting():
        return _by_grid_sample(x, offset, weight)
    sampled: Any = _Sampled.apply
    return sampled(x, offset, weight)


class _Sampled(torch.autograd.Function):
    """:func:`_by_rows` forwards, the gradients of :func:`_by_grid_sample` backwards."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, offset: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, offset, weight)
        sampled = _by_rows if x.device.type == "cpu" else _by_grid_sample
        parts = zip(*_parts((x, offset), len(weight)))
        return torch.cat([sampled(part, moved, weight) for part, moved in parts])

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, offset, weight = ctx.saved_tensors
        of_images: list[tuple[Tensor, Tensor]] = []
        of_weight = torch.zeros_like(weight)
        for *part, part_upstream in zip(*_parts((x, offset, upstream), len(weight))):
            inputs = [tensor.detach().requires_grad_() for tensor in (*part, weight)]
            with torch.enable_grad():
                output = _by_grid_sample(*inputs)
            *gradients, of_part = torch.autograd.grad(output, inputs, part_upstream)
            of_images.append((gradients[0], gradients[1]))
            of_weight += of_part
        of_x, of_offset = map(torch.cat, zip(*of_images))
        return of_x, of_offset, of_weight


def _parts(tensors: tuple[Tensor, ...], channels: int) -> list[tuple[Tensor, ...]]:
    """Tensors (N, ...) of which as many images as memory should hold run at once."""
    height, width = tensors[0].shape[2:]
    at_once = max(1, _ELEMENTS // (TAPS * channels * (height + 2) * (width + 2)))
    return [tensor.split(at_once) for tensor in tensors]


def _positions(offset: Tensor) -> tuple[Tensor, Tensor]:
    """Where the K positions sample, x and y (N, H, W, K) in pixels, of offsets (N, 2K, H, W)."""
    height, width = offset.shape[-2:]
    like: dict[str, Any] = {"device": offset.device, "dtype": offset.dtype}
    tap = torch.arange(TAPS, device=offset.device)
    moved = offset.permute(0, 2, 3, 1).unflatten(-1, (TAPS, 2))
    y = moved[..., 0] + (torch.arange(height, **like).view(-1, 1, 1) + (tap // 3 - 1))
    x = moved[..., 1] + (torch.arange(width, **like).view(-1, 1) + (tap % 3 - 1))
    return x, y


def _by_rows(x: Tensor, offset: Tensor, weight: Tensor) -> Tensor:
    """By :func:`sum_of_samples`; see :func:`deform_conv2d_sampled`."""
    batch, channels, height, width = x.shape
    bordered = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
    # (N, H + 2, W + 2, K·O), a row of the table for each pixel and position.
    products = F.linear(bordered, weight.permute(2, 3, 0, 1).reshape(-1, channels).to(x.dtype))
    points: dict[str, Any] = {"device": offset.device, "dtype": offset.dtype}
    # Of the W·K points of a row of pixels.
    tap = torch.arange(TAPS, **points).repeat(width)
    image = torch.arange(batch, **points).view(-1, 1, 1) * bordered[0, ..., 0].numel() * TAPS
    x_position, y_position = _positions(offset)
    summed = sum_of_samples(
        products.view(-1, len(weight)),
        (x_position + 1).flatten(2),
        (y_position + 1).flatten(2),
        None,
        width=torch.full_like(tap, width),
        height=torch.full_like(tap, height),
        first=image + tap,
        step=TAPS,
        points=TAPS,
    )
    return summed.view(batch, height, width, -1).permute(0, 3, 1, 2)


def _by_grid_sample(x: Tensor, offset: Tensor, weight: Tensor) -> Tensor:
    """By ``grid_sample``; see :func:`deform_conv2d_sampled`."""
    batch, channels, height, width = x.shape
    by_tap = weight.permute(2, 3, 0, 1).reshape(-1, channels, 1, 1)
    products = (
        F.conv2d(x.to(offset.dtype).contiguous(), by_tap).unflatten(1, (TAPS, -1)).flatten(0, 1)
    )  # (N·K, O, H, W)
    x_position, y_position = _positions(offset)
    # grid_sample wants (x, y) scaled so that -1 and 1 are the outer edges of the outermost pixels.
    grid = torch.stack([(2 * x_position + 1) / width, (2 * y_position + 1) / height], dim=-1) - 1
    grid = grid.permute(0, 3, 1, 2, 4).flatten(0, 1)  # (N·K, H, W, 2)
    samples = F.grid_sample(products, grid, align_corners=False)
    return samples.unflatten(0, (batch, TAPS)).sum(1).to(x.dtype)


class DeformConv(nn.Module):
    """3×3 deformable convolution whose offsets come from a 1×1 convolution.

    Offsets start at zero. Equal to the official VisTR operator, which is DCN v1 with one group.
    """

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.offset = nn.Conv2d(in_channels, 2 * TAPS, 1)
        nn.init.zeros_(self.offset.weight)
        assert self.offset.bias is not None
        nn.init.zeros_(self.offset.bias)
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, 3, 3))
        nn.init.kaiming_uniform_(self.weight, nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, O, H, W). Offsets are of float32 also under autocast, because bfloat16 would
        lose sub-pixel precision."""
        # Not every torchvision has its operator on MPS. On CUDA its backward pass adds in any order and does
        # not say so; the sampled form raises the error that DETERMINISTIC promises.
        if x.device.type in ("cpu", "mps") or torch.are_deterministic_algorithms_enabled():
            return self._sampled(x)
        with _without_autocast(x):
            x = x.float()
            return deform_conv2d(x, self.offset(x), self.weight, padding=1)

    # Inductor (torch 2.14) fails on its index arithmetic when sizes are dynamic; eager loses nothing here.
    @torch.compiler.disable
    def _sampled(self, x: Tensor) -> Tensor:
        with _without_autocast(x):
            return deform_conv2d_sampled(x, self.offset(x.float()), self.weight)


def _without_autocast(x: Tensor) -> AbstractContextManager[object]:
    device = x.device.type
    mixed = torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
    return torch.autocast(device, enabled=False) if mixed else nullcontext()
