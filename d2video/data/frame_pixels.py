"""Frames through their transforms, without a copy that is not needed.

Frames that are read from image files stay Pillow's images until a transform needs an array: to copy pixels
from one to the other takes as long as to resize them.
"""

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from detectron2.data import transforms as T
from fvcore.transforms.transform import Transform
from PIL import Image

from d2video.video.image_io import Pixels

# For OpenCV and for Pillow.
_FLIPS: dict[type[Transform], tuple[int, Image.Transpose]] = {
    T.HFlipTransform: (1, Image.Transpose.FLIP_LEFT_RIGHT),
    T.VFlipTransform: (0, Image.Transpose.FLIP_TOP_BOTTOM),
}


def size_of(frame: Pixels) -> tuple[int, int]:
    """Height and width."""
    if isinstance(frame, Image.Image):
        return frame.height, frame.width
    return frame.shape[0], frame.shape[1]


def transformed(frame: Pixels, transform: Transform, fast_resize: bool = False) -> np.ndarray:
    """As ``transform.apply_image`` of the array, to the bit.

    Args:
        frame: uint8 (H,W,3).
        fast_resize: resize by torch, four times as fast as Pillow. Values differ by at most 1 a
            resizing, one in a hundred or less.
    """
    for step in steps_of(transform):
        if isinstance(step, T.ResizeTransform) and step.interp == Image.Resampling.BILINEAR:
            frame = _resized(frame, (step.new_h, step.new_w), fast_resize)
        elif type(step) in _FLIPS:
            of_array, of_image = _FLIPS[type(step)]
            if isinstance(frame, Image.Image):
                frame = frame.transpose(of_image)
            else:
                frame = cv2.flip(frame, of_array)
        elif isinstance(step, T.CropTransform) and isinstance(frame, Image.Image):
            right, below = step.x0 + step.w, step.y0 + step.h
            # Pillow would pad what lies beyond.
            box = step.x0, step.y0, min(right, frame.width), min(below, frame.height)
            frame = frame.crop(box)
        elif not isinstance(step, T.NoOpTransform):
            frame = step.apply_image(np.asarray(frame))
    return np.asarray(frame)


def steps_of(transform: Transform) -> list[Transform]:
    """The transforms that are applied one after another."""
    if isinstance(transform, T.TransformList):
        return [step for each in transform.transforms for step in steps_of(each)]
    return [transform]


def _resized(frame: Pixels, size: tuple[int, int], fast: bool) -> Pixels:
    if size == size_of(frame):
        return frame
    if not fast:
        image = frame if isinstance(frame, Image.Image) else Image.fromarray(frame)
        return image.resize(size[::-1], Image.Resampling.BILINEAR)
    pixels = torch.from_numpy(np.array(frame)).permute(2, 0, 1)[None]  # torch wants them writable
    found = F.interpolate(pixels, size=size, mode="bilinear", antialias=True)
    return cv2.merge([*found[0].numpy()])  # channels last again
