"""Clean images and, where a dataset has them, their degraded partners: read, cut and turned alike.

Shapes: p side of a patch (of the degraded image), s scale of the task, H x W and h x w whole images.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from d2video.data.datasets.image_folder import check_pair_sizes
from d2video.utils.errors import UserError
from d2video.video.image_io import read_rgb


@dataclass(frozen=True)
class ImagePair:
    """A clean image and its degraded partner.

    Attributes:
        clean: uint8 (H,W,3).
        degraded: uint8 (h,w,3), H // s x W // s; None where it is to be made.
        degraded_name: the file of ``degraded``, for messages.
    """

    clean: np.ndarray
    degraded: np.ndarray | None
    degraded_name: str = ""

    @classmethod
    def read(cls, record: Mapping[str, Any], scale: int) -> "ImagePair":
        """
        Raises:
            BrokenFile: an image cannot be read.
            UserError: the sizes do not match.
        """
        clean = read_rgb(record["file_name"])
        if "degraded_file_name" not in record:
            return cls(clean, None)
        degraded = read_rgb(record["degraded_file_name"])
        names = record["file_name"], record["degraded_file_name"]
        check_pair_sizes(*names, clean.shape[:2], degraded.shape[:2], scale)
        return cls(clean, degraded, names[1])

    def patch(self, side: int, scale: int, rng: np.random.Generator) -> "ImagePair":
        """A random cut of (s·p,s·p) pixels, and of (p,p). A small clean image without a partner is
        enlarged.

        Raises:
            UserError: the degraded image is smaller than a patch.
        """
        if self.degraded is None:
            clean = _at_least(self.clean, side * scale)
            return ImagePair(_cut(clean, side * scale, *_corner(clean, side * scale, rng)), None)
        if min(self.degraded.shape[:2]) < side:
            raise UserError(
                f"image {self.degraded_name} is smaller than a patch of {side} pixels "
                "(MODEL.IPT.PATCH_SIZE): leave it out of the training"
            )
        top, left = _corner(self.degraded, side, rng)
        clean = _cut(self.clean, side * scale, top * scale, left * scale)
        return ImagePair(clean, _cut(self.degraded, side, top, left))

    def turned(self, rng: np.random.Generator) -> "ImagePair":
        """One of the eight flips and quarter turns, at random."""
        turns, flip = int(rng.integers(4)), bool(rng.integers(2))

        def turn(image: np.ndarray) -> np.ndarray:
            return np.rot90(image[:, ::-1] if flip else image, turns)

        return ImagePair(turn(self.clean), None if self.degraded is None else turn(self.degraded))


def _at_least(image: np.ndarray, side: int) -> np.ndarray:
    """Enlarged bilinearly, in proportion, where a side is shorter."""
    height, width = image.shape[:2]
    if min(height, width) >= side:
        return image
    factor = side / min(height, width)
    size = max(side, round(width * factor)), max(side, round(height * factor))
    return cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)


def _corner(image: np.ndarray, side: int, rng: np.random.Generator) -> tuple[int, int]:
    """Top and left of a random square."""
    top, left = (int(rng.integers(n - side + 1)) for n in image.shape[:2])
    return top, left


def _cut(image: np.ndarray, side: int, top: int, left: int) -> np.ndarray:
    return image[top : top + side, left : left + side]
