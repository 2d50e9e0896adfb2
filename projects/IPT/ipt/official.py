"""The official code's tiling of whole images, for its numbers."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from d2video.projects.ipt.tiling import Axis, Tiling, normalized, positions_of

from d2video.utils.errors import UserError


@dataclass(frozen=True)
class OfficialTiling(Tiling):
    """Patches every p/4 pixels, and one more at the end where that leaves a rest (``forward_chop``).

    Of a patch counts its inner half, where two of them overlap their mean; but the first p/4 pixels
    are those of the first patch only, and the end, from the middle of what the last two share, those
    of the last one only, without blending. About seven times the patches of the default.

    Args:
        patch_size: p, a multiple of 4.
        corner: take the first p/4 rows of the first p columns from the first patch only, as the
            official code does (the strip at the left is blended).

    Raises:
        UserError: ``patch_size`` is not a multiple of 4.
    """

    corner: bool = True

    def __post_init__(self) -> None:
        if self.patch_size % 4:
            raise UserError(
                "MODEL.IPT.TILING official needs a PATCH_SIZE that 4 divides, not "
                f"{self.patch_size}"
            )

    def extended(self, image: Any) -> Any:
        """The image as it is.

        Raises:
            UserError: it is smaller than a patch, which the official code refuses too.
        """
        height, width = image.shape[-2:]
        if min(height, width) < self.patch_size:
            raise UserError(
                f"official tiling needs images of {self.patch_size} pixels a side or more, not "
                f"{width}x{height}: set MODEL.IPT.TILING fast"
            )
        return image

    def axis(self, size: int, scale: int) -> Axis:
        quarter, last = self.patch_size // 4, size - self.patch_size
        rest = last % quarter
        starts = [*range(0, last + 1, quarter), *([last] if rest else [])]
        positions = positions_of(starts, self.patch_size * scale, scale)
        inside = np.arange(self.patch_size * scale)
        tail, head = self._first_of_tail(last, scale), quarter * scale
        used = (inside >= head) & (inside < (self.patch_size - quarter) * scale)
        used = used & (positions < tail)
        if rest:
            used[-1] = False  # it is none of the regular ones
        used[0] |= positions[0] < head
        used[-1] |= positions[-1] >= tail
        return Axis(starts, normalized(used.astype(np.float64), positions))

    def weights(self, y: Axis, x: Axis, row: int, column: int) -> Any:
        weights = super().weights(y, x, row, column)
        if self.corner and row == 0:
            pixels = len(weights)
            scale = pixels // self.patch_size
            end = min(pixels, self._first_of_tail(x.starts[-1], scale)) - x.starts[column] * scale
            weights[: self.patch_size // 4 * scale, : max(0, end)] = float(column == 0)
        return weights

    def _first_of_tail(self, last: int, scale: int) -> int:
        """From which output pixel on only the last patch counts, which starts at ``last``."""
        shared = self.patch_size - last % (self.patch_size // 4)
        return last * scale + int(shared / 2 * scale + 0.5)
