"""Transformers without encoder layers and without feed-forward blocks train everywhere."""

import pytest
import torch
from detectron2.modeling import build_model
from detectron2.utils.events import EventStorage

from tests.helpers.hugging_face import small_cfg
from tests.projects.DETR import tiny as detr
from tests.projects.TrackFormer import tiny as trackformer
from tests.projects.VisTR import tiny as vistr

ENCODER = ["DEFORMABLE_ENCODER.ENABLED", True, "HIDDEN_DIM", 96]
SYSTEMS = {
    "DETR": ("DETR", lambda *keys: detr.tiny_cfg(*keys), detr.make_image, []),
    "DETR, deformable": ("DETR", lambda *keys: detr.tiny_cfg(*keys), detr.make_image, ENCODER),
    "VisTR": ("VISTR", vistr.tiny_cfg, vistr.make_clip, []),
    "TrackFormer": (
        "TRACKFORMER",
        lambda *keys: trackformer.tiny_cfg("detr", *keys),
        trackformer.make_pair,
        ["TRACK_ATTENTION", True],
    ),
    "TrackFormer, deformable": (
        "TRACKFORMER",
        lambda *keys: trackformer.tiny_cfg("multi_frame", *keys),
        trackformer.make_pair,
        [],
    ),
    "DeformableDETR": (
        "DETR",
        lambda *keys: small_cfg("DeformableDETR/deformable_detr_R50_two_stage", *keys),
        detr.make_image,
        ["NUM_QUERIES", 5],
    ),
}


def gradients(system: str, recompute: bool, *options) -> dict[str, torch.Tensor]:
    node, cfg_of, make, more = SYSTEMS[system]
    keys = [
        f"MODEL.{node}.{key}" if isinstance(key, str) else key
        for key in ("ENC_LAYERS", 0, "DROPOUT", 0.0, *more, *options)
    ]
    cfg = cfg_of("MODEL.ACTIVATION_CHECKPOINT", recompute, *keys)
    torch.manual_seed(0)
    model = build_model(cfg).train()
    with EventStorage():
        sum(model([make()]).values()).backward()
    return {name: p.grad for name, p in model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("system", SYSTEMS)
def test_train_and_recompute(system):
    plain = gradients(system, False, "DIM_FEEDFORWARD", 0)
    assert not [name for name, gradient in plain.items() if gradient is None]
    assert not [name for name in plain if "linear1" in name or "encoder.layers" in name]
    again = gradients(system, True, "DIM_FEEDFORWARD", 0)
    for name, gradient in again.items():
        torch.testing.assert_close(gradient, plain[name], rtol=1e-4, atol=1e-5)
