"""The runs of masks, from their logits."""

from itertools import chain

import pycocotools.mask as coco_mask
import pytest
import torch

from d2video.formats.geometry.rle import encode_masks, encode_runs
from d2video.modeling import mask_runs
from d2video.modeling.mask_runs import resized_masks, runs_of_logits


def _assert_equal_to_masks(logits, size):
    masks = resized_masks(logits, size).numpy()
    runs = runs_of_logits(logits, size)
    assert encode_runs(runs) == encode_masks(masks)
    assert (runs.per_mask > 0).tolist() == masks.any((1, 2)).tolist()


@pytest.mark.parametrize("whole", [False, True])
def test_codes_are_those_of_the_resized_masks(whole):
    """Whole numbers bring logits of 0, and pixels that only rounding puts on one side."""
    generator = torch.Generator().manual_seed(0)

    def draw(low, high, shape=(1,)):
        return torch.randint(low, high, shape, generator=generator).tolist()

    for _ in range(150):
        (n,), (h, w), (height, width) = draw(0, 5), draw(1, 9, (2,)), draw(1, 60, (2,))
        logits = torch.randn(n, h, w, generator=generator) + 0.7 * draw(-2, 3)[0]
        _assert_equal_to_masks(logits.round() if whole else logits, (height, width))


def test_masks_are_looked_at_in_batches(monkeypatch):
    monkeypatch.setattr(mask_runs, "_BATCH_LOGITS", 2 * 6 * 8)
    logits = torch.randn(5, 6, 8, generator=torch.Generator().manual_seed(0))
    _assert_equal_to_masks(logits, (24, 33))


def test_runs_are_split_by_masks():
    logits = torch.randn(6, 6, 8, generator=torch.Generator().manual_seed(0))
    logits[2] = -1.0
    runs = runs_of_logits(logits, (24, 33))
    parts = [encode_runs(part) for part in runs.split([2, 0, 1, 3])]
    assert [*map(len, parts)] == [2, 0, 1, 3]
    assert [*chain.from_iterable(parts)] == encode_runs(runs)


def test_logits_of_half_precision_on_a_part_of_a_tensor():
    logits = torch.randn(3, 4, 6, 8, generator=torch.Generator().manual_seed(0)).half()
    _assert_equal_to_masks(logits[:, 2], (24, 33))


def test_dense_masks_are_made_of_doubtful_ones_only(monkeypatch):
    dense = []
    monkeypatch.setattr(
        mask_runs,
        "resized_masks",
        lambda logits, size: dense.append(len(logits)) or resized_masks(logits, size),
    )
    logits = torch.randn(6, 6, 8, generator=torch.Generator().manual_seed(0))
    logits[4, 2:4, 3:5] = torch.tensor([1.0, 0.0])  # one pixel of nine lies on each logit
    codes = encode_runs(runs_of_logits(logits, (54, 72)))
    assert dense == [1]
    assert coco_mask.area(codes).tolist() == resized_masks(logits, (54, 72)).sum((1, 2)).tolist()
