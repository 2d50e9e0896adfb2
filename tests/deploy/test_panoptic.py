"""The panoptic map in numpy is that of the model, from the same logits."""

import numpy as np
import pytest
import torch
from d2video.projects.detr.panoptic import panoptic_map as in_torch

from d2video.deploy.panoptic import panoptic_map


@pytest.mark.parametrize("official", [False, True])
@pytest.mark.parametrize("seed", range(12))
def test_the_same_map(seed, official):
    """With small segments, merged stuff, and no query at all."""
    rng = np.random.default_rng(seed)
    count = seed % 7
    coarse = rng.normal(size=(count, 5, 7)).astype(np.float32)
    logits = coarse.repeat(4, 1).repeat(3, 2) - rng.integers(0, 3, (count, 1, 1))
    classes = rng.integers(0, 4, count)
    size = (int(rng.integers(9, 40)), int(rng.integers(9, 40)))
    found = panoptic_map(logits, classes, 2, size, min_area=20, official_merge=official)
    labels = torch.from_numpy(classes)
    ids, segments = in_torch(
        *(torch.from_numpy(logits), labels, labels < 2, size),
        min_area=20,
        official_merge=official,
    )
    np.testing.assert_array_equal(found.ids, ids.numpy())
    assert found.segments == segments
