"""Frames through their transforms: as one array after another, but with fewer copies."""

import numpy as np
import pytest
from detectron2.data import transforms as T
from PIL import Image

from d2video.data.augmentation import (
    ClipAugInput,
    ClipResizeTransform,
    LargeScaleJitter,
    PhotometricDistort,
    RandomSizeCrop,
)
from d2video.data.frame_pixels import size_of, transformed


def frame(height=40, width=60):
    rows, columns = np.mgrid[:height, :width]
    waves = [np.sin(rows / a + columns / b) for a, b in ((3, 5), (7, 2), (4, 9))]
    return (127.5 + 127 * np.stack(waves, -1)).astype(np.uint8)


CHAINS = {
    "none": [],
    "resize": [ClipResizeTransform(40, 60, 30, 44)],
    "flip": [T.HFlipTransform(60), T.VFlipTransform(40)],
    "crop": [T.CropTransform(5, 3, 30, 20), ClipResizeTransform(20, 30, 33, 50)],
    "crop beyond": [T.NoOpTransform(), T.CropTransform(50, 3, 30, 20, 60, 40)],
    "pad": [ClipResizeTransform(40, 60, 20, 30), T.PadTransform(0, 0, 4, 6, 30, 20, 90)],
    "other": [T.HFlipTransform(60), T.BlendTransform(128.0, 0.3, 0.7), T.HFlipTransform(60)],
}


@pytest.mark.parametrize("chain", CHAINS)
def test_arrays_and_pictures_become_what_the_transforms_make_of_an_array(chain):
    transforms, image = T.TransformList(CHAINS[chain]), frame()
    expected = transforms.apply_image(image)
    for given in (image, image[:, ::-1][:, ::-1], Image.fromarray(image)):
        assert np.array_equal(transformed(given, T.TransformList([transforms])), expected)


def test_fast_resizing_differs_by_one_at_most():
    image, resize = frame(90, 160), ClipResizeTransform(90, 160, 60, 107)
    exact = transformed(image, resize).astype(int)
    for given in (image, Image.fromarray(image)):
        difference = np.abs(transformed(given, resize, fast_resize=True) - exact)
        assert difference.max() <= 1
        assert (difference > 0).mean() < 0.02


def test_augmentations_are_drawn_without_pixels():
    """Unless one looks at them."""
    augmentations = [LargeScaleJitter([32, 64]), PhotometricDistort(), RandomSizeCrop(8, 30)]
    drawn, image = [], Image.fromarray(frame())
    for extra in ([], [T.RandomContrast(0.5, 1.5)]):
        clip_input = ClipAugInput(image, np.random.default_rng(1))
        drawn.append(T.AugmentationList([*augmentations, *extra])(clip_input).transforms)
        assert (clip_input._frame is image) == (not extra)
        assert clip_input.blank.shape == clip_input.image.shape
        assert size_of(clip_input.image) == (drawn[-1][4].h, drawn[-1][4].w)
    assert vars(drawn[0][4]) == vars(drawn[1][4])
