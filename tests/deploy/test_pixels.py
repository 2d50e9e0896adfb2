"""Resizing and codes in numpy, against Pillow, torch and pycocotools."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco_mask

from d2video.deploy.pixels import resize, resize_shortest_edge, upsample
from d2video.deploy.rle import encode_mask

SIDES = st.integers(1, 70)
EXAMPLES = settings(max_examples=80, deadline=None)


@EXAMPLES
@given(SIDES, SIDES, SIDES, SIDES, st.integers(0, 2**32 - 1))
def test_resizing_is_pillows_bit_for_bit(height, width, new_height, new_width, seed):
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    expected = Image.fromarray(image).resize((new_width, new_height), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(resize(image, (new_height, new_width)), np.asarray(expected))


def test_large_images_too():
    """Weights that do not add up to 1 would show in white."""
    image = np.full((300, 533, 3), 255, np.uint8)
    image[::7, ::3] = 0
    expected = Image.fromarray(image).resize((97, 811), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(resize(image, (811, 97)), np.asarray(expected))


def test_an_image_of_the_right_size_is_not_touched():
    image = np.zeros((8, 12, 3), np.uint8)
    assert resize_shortest_edge(image, 0, 0) is image
    assert resize_shortest_edge(image, 8, 0) is image
    assert resize_shortest_edge(image, 4, 5).shape == (3, 4, 3)


@pytest.mark.parametrize("size", [(40, 64), (7, 5), (10, 17)])
def test_upsampling_is_torchs(size):
    logits = np.random.default_rng(0).standard_normal((3, 10, 16), dtype=np.float32)
    expected = F.interpolate(torch.from_numpy(logits)[:, None], size=size, mode="bilinear")[:, 0]
    # Float32 sums in another order.
    np.testing.assert_allclose(upsample(logits, size), expected.numpy(), atol=2e-6)
    assert upsample(logits[:0], size).shape == (0, *size)


@EXAMPLES
@given(SIDES, SIDES, st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_codes_are_those_of_pycocotools(height, width, share, seed):
    mask = np.random.default_rng(seed).random((height, width)) < share
    expected = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    assert encode_mask(mask) == expected | {"counts": expected["counts"].decode()}


def test_codes_of_large_masks():
    mask = np.zeros((1200, 1900), bool)
    mask[300:, 700:1100] = True
    for each in (mask, ~mask, mask[:, :700], mask[300:, 700:1100]):
        expected = coco_mask.encode(np.asfortranarray(each, np.uint8))
        assert encode_mask(each)["counts"] == expected["counts"].decode()
