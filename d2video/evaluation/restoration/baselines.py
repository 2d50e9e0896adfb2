"""What image restoration gets without learning, for comparison.

Images are float (3,h,w), RGB, 0..255.
"""

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

BICUBIC = "bicubic"
INPUT = "input"
BILATERAL = "bilateral"

# Of the bilateral filter: (sigma of the colour distance, which OpenCV sums over the channels; sigma
# of the distance in pixels). Which suits a dataset best is for its evaluation to tell.
BILATERAL_SETTINGS = tuple((colour, space) for colour in (50, 100, 200, 400) for space in (1.5, 3))


def bicubic(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Enlarge (3,h,w) to (3,H,W) by the cubic of super-resolution's data (a = -0.5, as MATLAB's)."""
    # Only with ``antialias``, which does nothing else in enlarging, has torch's this coefficient.
    enlarged = F.interpolate(
        image[None].float(), size, mode="bicubic", align_corners=False, antialias=True
    )
    return enlarged[0].clamp(0, 255)


def bilateral(image: Tensor, colour: float, space: float) -> Tensor:
    """Smooth (3,h,w) but for edges, by OpenCV; the neighbourhood reaches two sigmas."""
    array = np.ascontiguousarray(image.permute(1, 2, 0).float().cpu().numpy())
    diameter = 2 * round(2 * space) + 1
    return torch.from_numpy(cv2.bilateralFilter(array, diameter, colour, space)).permute(2, 0, 1)


def baselines(image: Tensor, size: tuple[int, int], denoises: bool) -> dict[str, Tensor]:
    """Restorations (3,H,W) by name.

    Enlarging: "bicubic". At scale 1: "input", the degraded image itself, and if ``denoises``
    "bilateral <colour> <space>" for each of :data:`BILATERAL_SETTINGS`.

    Args:
        image: degraded, (3,h,w).
        size: (H,W).
    """
    if tuple(image.shape[-2:]) != size:
        return {BICUBIC: bicubic(image, size)}
    found = {INPUT: image}
    if denoises:
        found |= {
            f"{BILATERAL} {colour:g} {space:g}": bilateral(image, colour, space)
            for colour, space in BILATERAL_SETTINGS
        }
    return found
