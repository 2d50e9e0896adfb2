"""Scores that take the masks into account (MASK_SCORES, SOFT_NMS)."""

import numpy as np
import pytest
import torch
from detectron2.modeling import build_model

from d2video.modeling.rescoring import Rescoring, mask_confidences, mask_ious
from d2video.utils.errors import UserError
from tests.projects.DETR.tiny import make_image
from tests.projects.DETR.tiny import tiny_cfg as tiny_detr
from tests.projects.VisTR.tiny import make_clip
from tests.projects.VisTR.tiny import tiny_cfg as tiny_vistr


def masks_of(*spans):
    """(N, 2, 1, 8) logits, two equal frames: positive in a span of a row of eight pixels."""
    logits = torch.full((len(spans), 2, 1, 8), -2.0)
    for row, (first, last) in zip(logits, spans, strict=True):
        row[..., first:last] = 3.0
    return logits


def test_confidence_is_the_mean_probability_of_the_positive_pixels():
    """In the frames that have some: an object that is hidden in the others is as sure."""
    seen, hidden = [[1.0, 3.0], [-1.0, -9.0]], [[-1.0, -1.0], [-1.0, -1.0]]
    logits = torch.tensor([[seen, hidden], [seen, seen], [hidden, hidden]])
    wanted = torch.tensor([1.0, 3.0]).sigmoid().mean().item()
    assert mask_confidences(logits).tolist() == pytest.approx([wanted, wanted, 0.0])


def test_ious_of_pairs():
    a = masks_of((0, 4), (2, 4), (0, 0)).flatten(1) > 0
    assert mask_ious(a, a[:2]).tolist() == [[1.0, 0.5], [0.5, 1.0], [0.0, 0.0]]


def test_only_the_lower_score_of_two_similar_predictions_falls():
    masks = masks_of((0, 4), (2, 4), (0, 4), (5, 8))
    scores = torch.tensor([0.8, 0.9, 0.6, 0.1])
    nms = Rescoring(soft_nms=True)
    equal = torch.ones(4, 4)
    assert nms.factors(scores, masks, equal).tolist() == [0.5, 1.0, 0.0, 1.0]
    others = torch.eye(4)  # each of a class of its own
    assert nms.factors(scores, masks, others).tolist() == [1.0] * 4
    assert nms.factors(scores[:0], masks[:0], equal[:0, :0]).tolist() == []
    # Of two equal ones the first stays.
    same = torch.full((4,), 0.5)
    assert nms.factors(same, masks, equal).tolist() == [1.0, 0.5, 0.0, 1.0]


def test_the_confidences_decide_which_score_is_the_higher():
    masks = masks_of((0, 4), (0, 4))
    masks[0][masks[0] > 0] = 0.1
    scores = torch.tensor([0.9, 0.8])
    factors = Rescoring(mask_scores=2.0, soft_nms=True).factors(scores, masks, torch.ones(2, 2))
    assert factors.tolist() == pytest.approx([0.0, torch.tensor(3.0).sigmoid().item() ** 2])
    assert not Rescoring()


def test_vistr_scores_slots_by_their_masks():
    """Two slots with the same prediction: the second one's score becomes 0."""
    torch.manual_seed(0)
    model = build_model(tiny_vistr("MODEL.VISTR.SOFT_NMS", True)).eval()
    embedding = model.network.query_embed.weight.data.view(2, 5, -1)
    embedding[:, 1] = embedding[:, 0]
    model.network.insmask_head[-1].bias.data.fill_(20.0)  # all masks are the whole frame
    video = make_clip()["image"]
    assert (
        model.predict_clip(video).probabilities.shape[1] == 1
    )  # the threshold holds for these scores
    model.score_threshold = 0.0
    found = model.predict_clip(video).probabilities
    model.rescoring = Rescoring(mask_scores=1.0)
    sure = model.predict_clip(video)
    model.rescoring = None
    plain = model.predict_clip(video).probabilities
    confidences = mask_confidences(sure.mask_logits)[:, None].numpy()
    np.testing.assert_allclose(sure.probabilities, plain * confidences, rtol=1e-5)
    ratio = (found / plain).mean((0, 2))
    assert ratio.max() == 1
    assert ratio[:2].min() == pytest.approx(0, abs=1e-5)


def test_detr_without_masks_refuses_it():
    with pytest.raises(UserError, match="MASK_SCORES and SOFT_NMS need masks"):
        build_model(tiny_detr("MODEL.DETR.MASK_SCORES", 1.0))


def test_detr_scores_detections_and_segments_by_their_masks():
    torch.manual_seed(0)
    switches = ("MODEL.MASK_ON", True, "MODEL.DETR.PANOPTIC.ENABLED", True)
    cfg = tiny_detr(*switches, "MODEL.DETR.PANOPTIC.SCORE_THRESH", 0.1, "MODEL.DETR.SOFT_NMS", True)
    model = build_model(cfg).eval()
    model.network.query_embed.weight.data[:] = model.network.query_embed.weight.data[:1]
    model.network.mask_branch.out_conv.bias.data.fill_(20.0)
    model.network.class_embed.bias.data[0] = 9.0
    image = make_image()
    [answer] = model([image])
    model.rescoring = None
    [plain] = model([image])
    scores = answer["instances"].scores
    assert scores[0] == plain["instances"].scores[0]
    assert scores[1:].tolist() == pytest.approx([0.0] * 5, abs=1e-5)
    assert (plain["instances"].scores > 0.1).all()
    assert answer["panoptic_seg"][1]
    # The map is made of the same scores: about 0.9 to the power of 100.
    model.network.mask_branch.out_conv.bias.data.fill_(2.0)
    model.rescoring = Rescoring(mask_scores=100.0)
    [unsure] = model([image])
    assert not unsure["panoptic_seg"][1]
