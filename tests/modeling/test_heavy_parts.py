"""What MODEL.COMPILE and TEST.PRECISION change is what runs."""

import pytest
import torch
from detectron2.modeling import build_model
from detectron2.utils.events import EventStorage

from tests.projects.DETR.tiny import make_image
from tests.projects.DETR.tiny import tiny_cfg as tiny_detr
from tests.projects.VisTR.tiny import make_clip
from tests.projects.VisTR.tiny import tiny_cfg as tiny_vistr

DEFORMABLE = ["DEFORMABLE_ENCODER.ENABLED", True, "DEFORMABLE_ENCODER.NUM_FEATURES", 1]
DEFORMABLE += ["HIDDEN_DIM", 96]


def detr(*options):
    keys = [f"MODEL.DETR.{key}" if isinstance(key, str) else key for key in options]
    return tiny_detr("MODEL.MASK_ON", True, *keys), [make_image()]


def vistr(*options):
    keys = [f"MODEL.VISTR.{key}" if isinstance(key, str) else key for key in options]
    frames = ("MODEL.VISTR.DEFORMABLE_ENCODER.NUM_FRAMES", 2)
    return tiny_vistr(*frames, *keys), [make_clip()]


@pytest.mark.parametrize(
    "options",
    [[], DEFORMABLE, [*DEFORMABLE, "ENC_LAYERS", 0]],
    ids=["dense", "deformable", "no encoder"],
)
@pytest.mark.parametrize("system", [detr, vistr])
def test_every_heavy_part_is_called(system, options):
    """A module is compiled as it is called; its other methods are not."""
    torch.manual_seed(0)
    cfg, batch = system(*options)
    model = build_model(cfg)
    parts = model.network.heavy_parts()
    called = set()
    for part in parts:
        part.register_forward_hook(lambda module, *_: called.add(module))
    with EventStorage():
        model(batch)
    assert called == set(parts)
    layers = model.network.transformer.decoder.layers
    assert set(layers) <= set(parts)
