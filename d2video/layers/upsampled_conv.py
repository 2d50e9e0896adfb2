"""A convolution after nearest upsampling, without the upsampled map.

Shapes: N: batch, I: input channels, O: output channels, h×w: the map, H×W: the upsampled map.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def conv_of_upsampled(x: Tensor, size: tuple[int, int], weight: Tensor) -> Tensor:
    """``F.conv2d(F.interpolate(x, size), weight, padding=1)``.

    To twice the size, each input pixel meets sums of neighbouring weights, so that one transposed 4×4
    convolution does the same with 4 multiplications for 9. Also where the last row or column is cut off,
    as by a backbone that halves an odd size.

    Args:
        x: (N, I, h, w).
        size: (H, W).
        weight: (O, I, 3, 3).

    Returns:
        (N, O, H, W).
    """
    cut = [2 * side - wanted for side, wanted in zip(x.shape[-2:], size)]
    # Sizes of exported graphs are symbols.
    doubled = not torch.compiler.is_exporting() and all(
        rest == 0 or (rest == 1 and side > 1) for rest, side in zip(cut, x.shape[-2:])
    )
    if not doubled:
        return F.conv2d(F.interpolate(x, size=size, mode="nearest"), weight, padding=1)
    height, width = size
    output = F.conv_transpose2d(x, _spread(weight), stride=2, padding=1)[..., :height, :width]
    # Beyond a side that is cut off lie zeros, not the rest of the last pixel.
    if cut[0]:
        rows = x[..., -2:, :].repeat_interleave(2, -1)[..., :width]
        output[..., -1:, :] = F.conv2d(rows, weight, padding=1)[..., -1:, :]
    if cut[1]:
        columns = x[..., -2:].repeat_interleave(2, -2)[..., :height, :]
        output[..., -1:] = F.conv2d(columns, weight, padding=1)[..., -1:]
    return output


def _spread(weight: Tensor) -> Tensor:
    """(O, I, 3, 3) to (I, O, 4, 4): what an input pixel, repeated twice in each direction, adds to the
    4×4 output pixels around it."""
    flipped = weight.flip(2, 3).transpose(0, 1)
    rows = F.pad(flipped, (0, 0, 0, 1)) + F.pad(flipped, (0, 0, 1, 0))
    return F.pad(rows, (0, 1)) + F.pad(rows, (1, 0))
