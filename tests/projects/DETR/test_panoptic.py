"""Panoptic maps: the official ones with both defects on, and what is right without them."""

import json

import pytest
import torch
from d2video.projects.detr.panoptic import panoptic_map
from d2video.projects.detr.postprocess import unpad_masks

from d2video.modeling.losses import CrossEntropy
from tests.helpers.golden_io import GOLDEN, load


@pytest.mark.parametrize("threshold", [0.85, 0.5])
def test_official_maps(threshold):
    _, data, _ = load("detr_panoptic_post.npz")
    described = json.loads((GOLDEN / "detr_panoptic_post_segments.json").read_text())
    for image in range(3):
        scores, classes = CrossEntropy().probabilities(data["pred_logits"][image]).max(-1)
        keep = scores > threshold
        # No-object queries: the official code drops them by their best class.
        keep &= data["pred_logits"][image].argmax(-1) != data["pred_logits"].shape[-1] - 1
        size = tuple(data["processed_sizes"][image].tolist())
        # The official code resizes the padded canvas to the image.
        masks = unpad_masks(data["pred_masks"][image][keep], size, size)
        ids, segments = panoptic_map(
            masks,
            classes[keep],
            classes[keep] <= 90,
            tuple(data["target_sizes"][image].tolist()),
            official_merge=True,
        )
        golden = data[f"thr{threshold}.id_map{image}"]
        # Official ids start at 0, ours at 1 as in detectron2.
        expected = next(
            entry["segments_info"]
            for entry in described
            if (entry["thr"], entry["image"]) == (threshold, image)
        )
        ours = [{**segment, "id": segment["id"] - 1} for segment in segments]
        assert ours == expected
        if expected:
            assert torch.equal(ids - 1, golden.int())
        else:
            assert not ids.any()


def test_merged_stuff_keeps_its_pixels():
    """Two halves of one stuff class are one segment, also after another segment is dropped as too
    small; the official code gives one of the halves to the thing."""
    masks = torch.full((4, 4, 8), -9.0)
    masks[0, :, :4] = 5.0  # stuff, left
    masks[1, :, 4:] = 5.0  # the same stuff, right
    masks[2] = 1.0  # a thing, first in the last row
    masks[2, 3] = 7.0
    masks[3, 0, 0] = 9.0  # another thing, one pixel
    classes = torch.tensor([7, 7, 0, 1])
    is_thing = torch.tensor([False, False, True, True])
    ids, segments = panoptic_map(masks, classes, is_thing, (4, 8), min_area=4)
    assert segments == [
        {"id": 1, "isthing": False, "category_id": 7, "area": 24},
        {"id": 2, "isthing": True, "category_id": 0, "area": 8},
    ]
    assert (ids[:3] == 1).all()
    assert (ids[3] == 2).all()
    _, official = panoptic_map(masks, classes, is_thing, (4, 8), min_area=4, official_merge=True)
    assert [(s["category_id"], s["area"]) for s in official] == [(7, 12), (0, 20)]


def test_small_stuff_is_judged_merged():
    masks = torch.full((3, 2, 6), -9.0)
    masks[0, :, :2] = 5.0  # four pixels of stuff …
    masks[1, :, 2:4] = 5.0  # … and four more of the same: eight together
    masks[2, :, 4:] = 5.0
    classes, is_thing = torch.tensor([7, 7, 0]), torch.tensor([False, False, True])
    ids, segments = panoptic_map(masks, classes, is_thing, (2, 6), min_area=4)
    assert [(s["category_id"], s["area"]) for s in segments] == [(7, 12)]
    assert ids.unique().tolist() == [1]


def test_no_query_is_an_empty_map():
    none = torch.zeros(0, 4, 6)
    ids, segments = panoptic_map(none, torch.zeros(0).long(), torch.zeros(0).bool(), (8, 12))
    assert ids.shape == (8, 12)
    assert not ids.any()
    assert segments == []


def test_padding_is_cut_off_before_resizing():
    """A mask that fills the image's half of a padded canvas fills the whole image."""
    masks = torch.full((1, 4, 8), -5.0)
    masks[:, :, :4] = 5.0
    right = unpad_masks(masks, (16, 32), (16, 16)) > 0
    assert right[0, :, :-2].all()
    official = unpad_masks(masks, (16, 16), (16, 16)) > 0
    assert not official[0, :, 9:].any()
