"""Costs of matching, of all images at once and of each by itself."""

import pytest
import torch

from d2video.modeling.matcher import MatchingCost
from d2video.modeling.predictions import Predictions
from d2video.modeling.targets import ImageTargets


@pytest.mark.parametrize("focal", [False, True])
def test_a_batch_costs_what_its_images_cost(focal):
    """The second one has no object."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 3, 5, 4, generator=generator)
    boxes = 0.2 + 0.5 * torch.rand(3, 3, 5, 4, generator=generator)
    targets = [
        ImageTargets(
            torch.randint(3, (n,), generator=generator),
            0.2 + 0.5 * torch.rand(n, 4, generator=generator),
        )
        for n in (2, 0, 3)
    ]
    cost = MatchingCost(focal=focal)
    together = cost.of_batch(Predictions(logits, boxes), targets)
    assert [each.shape for each in together] == [(3, 5, 2), (3, 5, 0), (3, 5, 3)]
    for image, (found, target) in enumerate(zip(together, targets, strict=True)):
        alone = Predictions(logits[:, image : image + 1], boxes[:, image : image + 1])
        torch.testing.assert_close(found, cost(alone, target).view(found.shape), rtol=0, atol=0)
