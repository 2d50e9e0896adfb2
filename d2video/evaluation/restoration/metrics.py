"""How close a restored image is to the true one: PSNR and SSIM as super-resolution papers count them.

Images are float or uint8 (3,H,W), RGB, 0..255; the measures take arrays (H,W,3), float64.
"""

from typing import NamedTuple

import numpy as np
from torch import Tensor

# Of ITU-R BT.601 from 0..255 to the range of studio video; IPT's code (utility.calc_psnr) has them.
_LUMA = np.array([65.738, 129.057, 25.064]) / 256
_LUMA_OFFSET = 16.0
_WINDOW = 11  # that of Wang et al. 2004: a Gaussian of sigma 1.5


class Measures(NamedTuple):
    """Of one image.

    Attributes:
        psnr_y: dB, of the luma; inf for equal images.
        psnr_rgb: dB, of all channels.
        ssim: of the luma, -1 to 1; nan where less than one window is left of the image.
    """

    psnr_y: float
    psnr_rgb: float
    ssim: float


def quantize(image: Tensor) -> Tensor:
    """What a file of 8 bits would hold: whole numbers 0..255, still float."""
    return image.float().clamp(0, 255).round()


def measure(restored: Tensor, target: Tensor, border: int = 0) -> Measures:
    """Compare a restored image, quantised first, with the true one.

    Args:
        restored, target: (3,H,W), 0..255, on any device.
        border: pixels to leave out on each side; the usual number is the scale of
            super-resolution, and 0 without one.
    """
    # Not above: it imports scipy.stats, 0.7 s for every program.
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    assert restored.shape == target.shape, (restored.shape, target.shape)
    found, true = (_inner(image, border) for image in (quantize(restored), target))
    luma = [image @ _LUMA for image in (found, true)]
    with np.errstate(divide="ignore"):  # equal images
        psnr_y = peak_signal_noise_ratio(luma[1], luma[0], data_range=255)
        psnr_rgb = peak_signal_noise_ratio(true, found, data_range=255)
    ssim = float("nan")
    if min(luma[0].shape) >= _WINDOW:
        # With these arguments scikit-image's is the definition itself, only of whole windows.
        ssim = structural_similarity(
            luma[0] + _LUMA_OFFSET,
            luma[1] + _LUMA_OFFSET,
            data_range=255,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
    return Measures(float(psnr_y), float(psnr_rgb), float(ssim))


def _inner(image: Tensor, border: int) -> np.ndarray:
    height, width = image.shape[-2:]
    inner = image[:, border : height - border, border : width - border]
    return inner.permute(1, 2, 0).cpu().double().numpy()  # MPS has no float64
