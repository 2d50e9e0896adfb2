"""Answers of the whole model to images and videos."""

import numpy as np
import pytest
import torch
from detectron2.engine import DefaultPredictor
from detectron2.modeling import build_model
from detectron2.structures import Boxes
from pycocotools import mask as rle

from tests.projects.TrackFormer.tiny import (
    NODE,
    build,
    make_frame,
    tiny_cfg,
)


@pytest.mark.parametrize("variant", ["deformable", "detr_masks", "two_stage"])
def test_answer_to_an_image(variant):
    model = build(variant).eval()
    image = make_frame(40, 56, [], 0, 0)["image"]
    found = model([{"image": image, "height": 80, "width": 112}])[0]["instances"]
    assert found.image_size == (80, 112)
    assert len(found) == 7
    assert set(found.pred_classes.tolist()) <= {0, 1, 2}
    assert found.has("pred_masks") == ("masks" in variant)
    if found.has("pred_masks"):
        assert found.pred_masks.shape == (7, 80, 112)
        assert found.pred_masks.dtype == torch.bool
    assert model([{"image": image}])[0]["instances"].image_size == (40, 56)
    model.score_threshold = 1.0
    empty = model([{"image": image, "height": 80, "width": 112}])[0]["instances"]
    assert len(empty) == 0
    assert not empty.has("pred_masks") or empty.pred_masks.shape == (0, 80, 112)


@pytest.mark.parametrize("tracked", [[0, 1], [2]])
def test_tracked_classes_alone_are_answered(tracked):
    model = build("deformable", f"{NODE}.TRACKED_CLASSES", tracked).eval()
    with torch.no_grad():  # classes of about equal scores
        for head in model.network.class_embed:
            head.bias.zero_()
            head.weight.normal_()
    image = make_frame(40, 56, [], 0, 0)["image"]
    model._tracker.tracked_classes, wanted = None, model._tracker.tracked_classes
    every = model([{"image": image}])[0]["instances"]
    model._tracker.tracked_classes = wanted
    found = model([{"image": image}])[0]["instances"]
    chosen = torch.isin(every.pred_classes, torch.tensor(tracked))
    assert 0 < len(found) < len(every)
    assert torch.equal(found.scores, every.scores[chosen])


@pytest.mark.parametrize("overflow", [True, False])
def test_boxes_are_cut_at_the_border_if_asked(overflow):
    model = build("deformable", f"{NODE}.OVERFLOW_BOXES", overflow).eval()
    heads = model.network.bbox_embed
    with torch.no_grad():
        for head in heads:
            head.layers[-1].bias[2:] = 4.0  # large
    frame = make_frame(40, 56, [], 0, 0)["image"]
    image = model([{"image": frame}])[0]["instances"]
    video = model([{"image": [frame], "height": 40, "width": 56}])[0]["frames"][0]
    for found in (image, video):
        cut = Boxes(found.pred_boxes.tensor.clone())
        cut.clip((40, 56))
        assert torch.equal(cut.tensor, found.pred_boxes.tensor) != overflow


def test_default_predictor(tmp_path):
    """detectron2's own predictor: BGR array in, ``Instances`` at the array's size out."""
    cfg = tiny_cfg("detr_masks", "MODEL.WEIGHTS", str(tmp_path / "model.pth"))
    cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST = 32, 64
    torch.save({"model": build_model(cfg).state_dict()}, cfg.MODEL.WEIGHTS)
    picture = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    found = DefaultPredictor(cfg)(picture)["instances"]
    assert found.image_size == (50, 70)
    assert found.pred_masks.shape == (7, 50, 70)


@pytest.mark.parametrize("variant", ["multi_frame", "detr_masks", "deformable_masks"])
def test_answer_to_a_video(variant):
    model = build(variant).eval()
    if "masks" in variant:  # as many pixels inside as outside
        torch.nn.init.zeros_(model.network.mask_branch.out_conv.bias)
    frames = [make_frame(40, 56, [], 0, seed)["image"] for seed in range(4)]
    answer = model([{"image": frames, "height": 80, "width": 112}])[0]
    assert set(answer) == {"image_size", "frames"}
    assert answer["image_size"] == (80, 112)
    assert len(answer["frames"]) == 4
    pixels = 0
    for found in answer["frames"]:
        assert found.image_size == (80, 112)
        assert len(found)
        ids = found.track_ids
        assert ids.dtype == torch.int64
        assert len(ids.unique()) == len(ids)
        assert (ids >= 0).all()
        assert not found.has("pred_masks")
        assert found.has("pred_rles") == ("masks" in variant)
        if found.has("pred_rles"):
            assert isinstance(found.pred_rles, list)
            masks = rle.decode(found.pred_rles)
            assert masks.shape == (80, 112, len(found))
            assert masks.sum(-1).max() <= 1
            pixels += masks.sum()
    assert "masks" not in variant or pixels > 0


@torch.no_grad()
def test_masks_come_from_the_current_frame():
    """Of two frames, the memory at the level of the coarsest lateral; and from the last layer."""
    model = build("multi_frame", "MODEL.MASK_ON", True).eval()
    network = model.network
    memories, encode = [], network.transformer.encode
    network.transformer.encode = lambda *args: memories.append(encode(*args)) or memories[-1]
    frames = torch.stack([make_frame(40, 56, [], 0, seed)["image"] for seed in range(2)])
    old, new = (network.features(model.normalize(frame[None]), None) for frame in frames)
    current = network.project(new)
    output = network(new, current, [network.project(old)], None)
    fine, height, width = 5 * 7, 3, 4  # tokens of res3; res4, the last of MASK_FEATURES
    assert current.levels[1].shape[-2:] == (height, width)
    own = memories[0][:, 1, fine : fine + height * width]
    assert torch.equal(output.encoded.memory.flatten(1, 2), own)
    assert torch.equal(output.encoded.source, current.levels[1])
    assert torch.equal(output.encoded.queries, output.embeddings)
    assert [lateral.shape[-2:] for lateral in output.encoded.laterals] == [(3, 4), (5, 7), (10, 14)]
