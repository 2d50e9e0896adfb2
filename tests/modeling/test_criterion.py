"""The set-prediction loss beyond its golden values (tests/projects/VisTR/test_golden_loss.py)."""

import torch

from d2video.modeling.criterion import Matches, SetCriterion


def test_targets_are_counted_exactly_under_low_precision():
    """bfloat16 has no 1043; box losses and mask losses are divided by it."""
    none = torch.zeros(0, dtype=torch.int64)
    logits = torch.zeros(2, 1, 4, 4, dtype=torch.bfloat16)
    losses, divisor = SetCriterion(3)(
        *(logits, torch.rand(2, 1, 4, 4), Matches(none, none, none, none)),
        *(torch.zeros(1043, dtype=torch.int64), torch.rand(1043, 4), 1043),
    )
    assert divisor.item() == 1043
    assert losses["loss_ce"].dtype == torch.float32
