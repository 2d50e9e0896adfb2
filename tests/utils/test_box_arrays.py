"""Boxes as arrays, against the same functions of tensors."""

import numpy as np
import torch
from torchvision.ops import nms as nms_of_torchvision

from d2video.structures import boxes as tensors
from d2video.utils import box_arrays as arrays


def random_boxes(random: np.random.Generator, count: int, whole: bool) -> np.ndarray:
    low, size = random.random((2, count, 2), np.float32) * 12
    boxes = np.concatenate([low, low + size], 1)
    return boxes.round() if whole else boxes


def test_equal_to_the_functions_of_tensors():
    random = np.random.default_rng(0)
    a, b = random_boxes(random, 30, True), random_boxes(random, 20, False)
    a[0, 2:] = a[0, :2]  # no area
    torch_a, torch_b = torch.from_numpy(a), torch.from_numpy(b)
    wanted = tensors.box_iou(torch_a[:, None], torch_b[None])[0]
    np.testing.assert_array_equal(arrays.iou(a, b), wanted)
    np.testing.assert_array_equal(arrays.xyxy_to_cxcywh(a), tensors.box_xyxy_to_cxcywh(torch_a))
    np.testing.assert_array_equal(arrays.cxcywh_to_xyxy(a), tensors.box_cxcywh_to_xyxy(torch_a))


def test_nms_is_that_of_torchvision():
    """Also where scores are equal and where an IoU is the threshold."""
    random = np.random.default_rng(0)
    for step in range(200):
        boxes = random_boxes(random, int(random.integers(0, 25)), whole=step % 2 == 0)
        scores = random.random(len(boxes), np.float32).round(1)
        threshold = (0.3, 0.5, 0.6, 0.9)[step % 4]
        kept = arrays.nms(boxes, scores, threshold)
        wanted = nms_of_torchvision(torch.from_numpy(boxes), torch.from_numpy(scores), threshold)
        assert kept.tolist() == wanted.tolist()
