"""Degraded images made of clean ones, as the tasks of IPT define them (paper, section 3.2).

The rules are those of the official MindSpore code. Images are float tensors of 0..255.
Shapes: C channels, H x W pixels, s scale.
"""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from d2video.projects.ipt.tasks import Task
from torch import Tensor

from d2video.utils.errors import UserError
from d2video.video.image_io import list_images, read_rgb

# Generated rain, drawn once an image: drops on a pixel, length of the streaks in pixels, their angle
# from the vertical in degrees, and the grey value that the brightest adds.
_DENSITY = (0.005, 0.03)
_LENGTH = (7, 25)
_SLANT = (-30.0, 30.0)
_BRIGHTNESS = (60.0, 160.0)


class Corruption:
    """Degrades clean images by the rule of a task.

    Args:
        clamp_noise: see :func:`add_noise`.
        streak_folder: of grey images of rain; "": rain is generated.

    Raises:
        UserError: a folder without readable streak images.
    """

    def __init__(self, clamp_noise: bool = True, streak_folder: str = ""):
        self.clamp_noise = clamp_noise
        self.streaks: list[np.ndarray] = []  # grey, uint8 (h,w)
        if streak_folder:
            if not Path(streak_folder).is_dir():
                raise UserError(
                    f"INPUT.RESTORATION.STREAK_FOLDER {streak_folder} does not exist: correct it, or "
                    "leave it empty to generate rain"
                )
            paths = list_images(streak_folder)
            self.streaks = [read_rgb(path).mean(2).round().astype(np.uint8) for path in paths]

    def __call__(self, image: Tensor, task: Task, rng: np.random.Generator) -> Tensor:
        """
        Args:
            image: float (3,H,W), H and W multiples of the task's scale.
            task: of a kind that has a rule.

        Returns:
            float (3,H/s,W/s).
        """
        match task.kind:
            case "sr":
                return downscale(image, task.scale)
            case "denoise":
                assert task.sigma is not None
                return add_noise(image, task.sigma, rng, clamp=self.clamp_noise)
            case "derain":
                height, width = image.shape[1:]
                if self.streaks:
                    return add_rain(image, cut_rain(self.streaks, height, width, rng))
                return add_rain(image, generate_rain(height, width, rng))
        raise AssertionError(f"task {task.name} needs pairs")


def downscale(image: Tensor, scale: int) -> Tensor:
    """Bicubic reduction as MATLAB's imresize: antialiased, rounded, clipped; beyond the border pixels
    repeat.

    Args:
        image: float (...,C,H,W), H and W multiples of ``scale``.

    Returns:
        float (...,C,H/s,W/s), whole numbers.
    """
    height, width = image.shape[-2:]
    assert (height % scale, width % scale) == (0, 0), (height, width, scale)
    # Two pixels of the result are as far as the kernel reaches.
    margin = 2 * scale
    flat = image.reshape(-1, *image.shape[-3:])
    padded = F.pad(flat, (margin,) * 4, mode="replicate")
    size = (height // scale + 4, width // scale + 4)
    small = F.interpolate(padded, size, mode="bicubic", antialias=True, align_corners=False)
    small = small[..., 2:-2, 2:-2].round().clamp(0, 255)
    return small.reshape(*image.shape[:-2], *small.shape[-2:])


def add_noise(
    image: Tensor,
    sigma: float,
    rng: np.random.Generator | np.random.RandomState,
    *,
    clamp: bool = True,
) -> Tensor:
    """Add Gaussian noise; nothing is rounded.

    Args:
        image: float (...), on the CPU.
        sigma: standard deviation, in grey levels.
        clamp: cut the result to 0..255 (official); False keeps it Gaussian, as most papers on
            denoising have it.
    """
    noise = torch.from_numpy(rng.standard_normal(tuple(image.shape))) * sigma
    noisy = image.double() + noise
    return (noisy.clamp(0, 255) if clamp else noisy).to(image.dtype)


def add_rain(image: Tensor, streaks: Tensor) -> Tensor:
    """Add streaks to all channels alike and clip.

    Args:
        image: float (...,C,H,W).
        streaks: (...,1,H,W), 0..255, what rain adds.
    """
    return (image + streaks).clamp(0, 255)


def generate_rain(height: int, width: int, rng: np.random.Generator) -> Tensor:
    """Made-up rain streaks: float32 (1,H,W), 0..160.

    Drops at random pixels, each of a random strength, are smeared along one slanted line (the way
    they fall during the exposure) and slightly blurred across it; density, length, slant and
    brightness are drawn once an image.
    """
    length = int(rng.integers(_LENGTH[0], _LENGTH[1] + 1))
    drops = rng.random((height + 2 * length, width + 2 * length), dtype=np.float32)
    density = rng.uniform(*_DENSITY)
    drops = np.where(drops < density, drops / density, 0).astype(np.float32)

    slant = np.deg2rad(rng.uniform(*_SLANT))
    kernel = np.zeros((2 * length + 1, 2 * length + 1), np.float32)
    reach = length / 2 * np.array([np.sin(slant), np.cos(slant)])
    first, last = np.round(length + reach * [[-1], [1]]).astype(int).tolist()
    cv2.line(kernel, first, last, 1.0)
    streaks = cv2.GaussianBlur(cv2.filter2D(drops, -1, kernel), (3, 3), 0.5)
    streaks = streaks[length : length + height, length : length + width]
    brightness = rng.uniform(*_BRIGHTNESS)
    # Where streaks cross they would be brighter than any one of them; the filter, for large kernels a
    # Fourier transform, leaves tiny negative values.
    return torch.from_numpy(streaks.clip(0, 1)[None] * np.float32(brightness))


def cut_rain(
    streak_images: Sequence[np.ndarray], height: int, width: int, rng: np.random.Generator
) -> Tensor:
    """A random cut of a random streak image: float32 (1,H,W).

    Args:
        streak_images: at least one, uint8 (h,w), any sizes; a smaller one is repeated.
    """
    streaks = streak_images[int(rng.integers(len(streak_images)))]
    repeats = (-(-height // streaks.shape[0]), -(-width // streaks.shape[1]))
    if max(repeats) > 1:
        streaks = np.tile(streaks, repeats)
    top = int(rng.integers(streaks.shape[0] - height + 1))
    left = int(rng.integers(streaks.shape[1] - width + 1))
    cut = streaks[top : top + height, left : left + width]
    return torch.from_numpy(cut[None].astype(np.float32))
