"""Convolutions that take a batch norm of fixed statistics into their weights.

A pass over the weights then stands for one over the activations, which are many times as large.
"""

from typing import Any

import torch
import torch.nn.functional as F
from detectron2.layers import Conv2d, FrozenBatchNorm2d
from torch import Tensor, nn


class FoldedConv2d(Conv2d):
    """detectron2's ``Conv2d`` followed by a batch norm.

    While the statistics of the norm are fixed, each call scales the weights by them, so that gradients,
    loaded checkpoints and averaged weights need no further step. The norm runs by itself where there are
    fewer activations than weights, and in compiled and exported graphs, where the compiler fuses it.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, O, H', W')."""
        norm: Any = self.norm
        learns = norm.training and not isinstance(norm, FrozenBatchNorm2d)
        if learns or torch.compiler.is_compiling() or not self._pays(x):
            return super().forward(x)
        scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
        weight = self.weight * scale[:, None, None, None]
        shift = norm.bias - norm.running_mean * scale
        x = F.conv2d(x, weight, shift, self.stride, self.padding, self.dilation, self.groups)
        return x if self.activation is None else self.activation(x)

    def _pays(self, x: Tensor) -> bool:
        """Whether a channel has more activations than weights."""
        positions = x[:, 0].numel() // (self.stride[0] * self.stride[1])
        return positions > self.weight[0].numel()


def fold_norms(model: nn.Module) -> None:
    """Make :class:`FoldedConv2d` of detectron2's convolutions with a batch norm and no bias, in place.

    Only the class changes: parameters, buffers and their names stay.
    """
    for module in model.modules():
        if type(module) is not Conv2d or module.bias is not None:
            continue
        if isinstance(module.norm, FrozenBatchNorm2d | nn.BatchNorm2d):
            module.__class__ = FoldedConv2d
