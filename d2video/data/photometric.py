"""Colour distortion of frames by given amounts (the draws are made in augmentation.py)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from fvcore.transforms.transform import Transform

# Pixels whose colours are worked out together: what a processor's cache holds.
_STRIP_PIXELS = 2**15


@dataclass(frozen=True)
class PhotometricDistortion:
    """Amounts of one distortion; the defaults leave a frame as it is.

    Attributes:
        brightness: added to all channels, of the 0..255 range.
        contrast: factor of all channels.
        contrast_first: whether the contrast changes before or after saturation and hue.
        saturation: factor of the saturation.
        hue: degrees added to the hue.
        channel_order: which input channel becomes output channel 0, 1, 2.
    """

    brightness: float = 0.0
    contrast: float = 1.0
    contrast_first: bool = True
    saturation: float = 1.0
    hue: float = 0.0
    channel_order: tuple[int, ...] = (0, 1, 2)

    def apply(self, image: np.ndarray, official: bool = False) -> np.ndarray:
        """Distort one frame, uint8 (H,W,3), into another.

        ``official`` takes the channels as blue, green, red and lets values outside 0..255 wrap around
        modulo 256, as the official VisTR code does. Otherwise they are red, green, blue, and values
        are clipped.
        """
        image = np.ascontiguousarray(image)
        if official or self.saturation != 1 or self.hue != 0:
            distorted: np.ndarray = np.empty(image.shape, np.uint8)
            rows = max(_STRIP_PIXELS // max(image.shape[1], 1), 1)
            for top in range(0, len(image), rows):
                strip = slice(top, top + rows)
                distorted[strip] = self._distorted(image[strip], official, in_colour=True)
        else:
            levels = np.arange(256, dtype=np.uint8)
            distorted = cv2.LUT(image, self._distorted(levels, official, in_colour=False))
        if self.channel_order == (0, 1, 2):
            return distorted
        ordered = np.empty_like(distorted)
        pairs = [each for pair in zip(self.channel_order, range(3), strict=True) for each in pair]
        cv2.mixChannels([distorted], [ordered], pairs)  # numpy takes six times as long
        return ordered

    def _distorted(self, image: np.ndarray, official: bool, in_colour: bool) -> np.ndarray:
        """uint8 of any shape, or with ``in_colour`` (H,W,3), to the same without the order of channels."""
        # Between the steps values may leave 0..255 in both variants.
        # Python floats leave the arrays in float32.
        pixels: np.ndarray = image.astype(np.float32)
        pixels += self.brightness
        if self.contrast_first:
            pixels *= self.contrast
        if in_colour:
            to_hsv = cv2.COLOR_BGR2HSV if official else cv2.COLOR_RGB2HSV
            from_hsv = cv2.COLOR_HSV2BGR if official else cv2.COLOR_HSV2RGB
            hsv: Any = cv2.cvtColor(pixels, to_hsv)
            hue = hsv[..., 0]
            hue += self.hue
            # As hue % 360, which takes ten times as long: |self.hue| is at most 180.
            hue += np.float32(360) * (hue < 0) - np.float32(360) * (hue >= 360)
            hsv[..., 1] *= self.saturation
            cv2.cvtColor(hsv, from_hsv, dst=pixels)
        if not self.contrast_first:
            pixels *= self.contrast
        if official:
            # Truncate and keep the low byte; a direct cast of negative floats is undefined in C.
            return pixels.astype(np.int32).astype(np.uint8)
        np.rint(pixels, out=pixels)
        return np.clip(pixels, 0, 255, out=pixels).astype(np.uint8)


class PhotometricTransform(Transform):
    """Distort the colours of each frame by what ``next_distortion`` returns; move nothing."""

    def __init__(
        self,
        next_distortion: Callable[[], PhotometricDistortion],
        *,
        per_frame: bool,
        official: bool,
    ):
        """
        Args:
            next_distortion: called once a frame.
            per_frame: whether it returns something else each time. The clip mapper then applies the
                transform to each frame of the clip, repeated ones included.
            official: see :meth:`PhotometricDistortion.apply`.
        """
        super().__init__()
        self.next_distortion = next_distortion
        self.per_frame = per_frame
        self.official = official

    def apply_image(self, img: np.ndarray) -> np.ndarray:
        return self.next_distortion().apply(img, self.official)

    def apply_coords(self, coords: np.ndarray) -> np.ndarray:
        return coords

    def apply_segmentation(self, segmentation: np.ndarray) -> np.ndarray:
        return segmentation
