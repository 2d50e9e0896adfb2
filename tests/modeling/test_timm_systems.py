"""The set-prediction systems with feature maps of a network of timm."""

import pytest
import torch
from detectron2.modeling import build_model
from detectron2.utils.events import EventStorage

from tests.projects.DETR import tiny as detr
from tests.projects.TrackFormer import tiny as trackformer
from tests.projects.VisTR import tiny as vistr

STAGES = ["stage2", "stage3", "stage4"]
TIMM = [
    *("MODEL.BACKBONE.NAME", "build_timm_backbone", "MODEL.TIMM.NAME", "test_efficientnet"),
    *("MODEL.TIMM.OUT_FEATURES", STAGES, "MODEL.TIMM.FREEZE_NORM", True, "MODEL.MASK_ON", True),
]


def samples(make):
    """Of two sizes, so that one is padded, and its features as well."""
    return [make(height=40, width=56), make(height=50, width=45)]


# What each makes of them: the transformer takes the last map, or all of them, the masks the others.
SYSTEMS = {
    "DETR": lambda: (
        detr.tiny_cfg(*TIMM, "MODEL.DETR.IN_FEATURES", STAGES),
        samples(detr.make_image),
    ),
    "VisTR": lambda: (
        vistr.tiny_cfg(*TIMM, "MODEL.VISTR.IN_FEATURES", STAGES),
        samples(vistr.make_clip),
    ),
    "TrackFormer": lambda: (
        trackformer.tiny_cfg(
            "deformable_masks",
            *(*TIMM, "MODEL.TRACKFORMER.IN_FEATURES", STAGES[1:]),
            *("MODEL.TRACKFORMER.MASK_FEATURES", STAGES[:2]),
        ),
        samples(trackformer.make_pair),
    ),
}


@pytest.mark.parametrize("system", SYSTEMS)
def test_losses_reach_the_whole_backbone(system):
    cfg, batch = SYSTEMS[system]()
    torch.manual_seed(0)
    model = build_model(cfg).train()
    with EventStorage():
        losses = model(batch)
    assert any("dice" in name for name in losses)
    sum(losses.values()).backward()
    assert all(p.grad.abs().sum() > 0 for p in model.network.backbone.parameters())
