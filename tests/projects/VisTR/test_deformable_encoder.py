"""VisTR and DETR with a deformable encoder."""

import pytest
import torch
from detectron2.modeling import build_model
from detectron2.utils.events import EventStorage

from d2video.utils.errors import UserError
from tests.projects.DETR import tiny as detr
from tests.projects.VisTR import tiny as vistr

TINY = {
    "VISTR": lambda *options: vistr.tiny_cfg("MODEL.VISTR.HIDDEN_DIM", 96, *options),
    "DETR": lambda *options: detr.tiny_cfg(
        *("MODEL.MASK_ON", True, "MODEL.DETR.IN_FEATURES", ["res2", "res3"], *options),
        config="configs/DETR/detr_tiny_shapes.yaml",
    ),
}


def config(system: str, *options):
    """Levels of res3 and of a strided convolution; in VisTR each token sees both frames."""
    node = f"MODEL.{system}.DEFORMABLE_ENCODER"
    frames = [f"{node}.NUM_FRAMES", 2] if system == "VISTR" else []
    switch = [f"{node}.ENABLED", True, f"{node}.NUM_FEATURES", 1, *frames]
    return TINY[system](*switch, *options)


def build(system: str, *options):
    torch.manual_seed(0)
    return build_model(config(system, *options))


@pytest.mark.parametrize("system", TINY)
def test_every_parameter_has_a_gradient(system):
    model = build(system).train()
    make = vistr.make_clip if system == "VISTR" else detr.make_image
    with EventStorage():
        losses = model([make(), make(48, 40, seed=1)])  # padded
    sum(losses.values()).backward()
    assert len(model.network.transformer.encoder.layers) == 0
    encoder = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            if "deformable_encoder" in name or "input_proj" in name:
                encoder[name] = parameter.grad
    assert len(encoder) == 2 * 4 + 1 + 16  # two levels, their embedding, one layer
    assert all(gradient.any() for gradient in encoder.values())


@torch.no_grad()
def test_decoder_sees_all_levels_and_masks_the_finest():
    network = build("VISTR").eval().network
    memories = []
    network.transformer.decoder.layers[0].register_forward_pre_hook(
        lambda _, args: memories.append(args[2])
    )
    predictions = network(torch.randn(1, 2, 3, 64, 96), None)
    assert predictions.logits.shape == (2, 1, 2 * 5, 4)
    (memory,) = memories
    assert memory.shape == (1, 2 * (8 * 12 + 4 * 6), 96)
    finest = memory.view(2, 120, 96)[:, :96].view(2, 8, 12, 96)
    assert torch.equal(predictions.encoded.memory, finest)
    assert predictions.masks(torch.tensor([0]), torch.tensor([7])).shape == (1, 16, 24)


@torch.no_grad()
def test_two_features_leave_the_finer_ones_to_the_masks():
    options = ["MODEL.RESNETS.OUT_FEATURES", ["res2", "res3", "res4"]]
    options += ["MODEL.DETR.IN_FEATURES", ["res2", "res3", "res4"]]
    options += ["MODEL.DETR.DEFORMABLE_ENCODER.NUM_FEATURES", 2]
    network = build("DETR", *options).eval().network
    encoded = network(torch.randn(1, 3, 64, 64), None).encoded
    assert encoded.memory.shape == (1, 8, 8, 32)
    assert [lateral.shape[-1] for lateral in encoded.laterals] == [16]


OPTIONS = "MODEL.VISTR.DEFORMABLE_ENCODER."


@pytest.mark.parametrize(
    ("system", "options", "message"),
    [
        ("VISTR", [f"{OPTIONS}POINTS", 0], "DEFORMABLE_ENCODER.POINTS is 0: set 1 or more"),
        ("VISTR", [f"{OPTIONS}NUM_FRAMES", 3], r"set at most INPUT.CLIP.NUM_FRAMES \(2\)"),
        ("VISTR", [f"{OPTIONS}NUM_FEATURES", 2], "IN_FEATURES is .*: name 3 or more"),
        ("DETR", ["MODEL.DETR.DEFORMABLE_ENCODER.NUM_LEVELS", 0], "NUM_LEVELS is 0: set 1 or more"),
        (
            "DETR",
            [
                *("MODEL.MASK_ON", False, "MODEL.DETR.DEFORMABLE_ENCODER.NUM_FEATURES", 2),
                *("MODEL.DETR.DEFORMABLE_ENCODER.NUM_LEVELS", 1),
            ],
            r"NUM_LEVELS is 1: set NUM_FEATURES \(2\) or more",
        ),
        ("VISTR", ["MODEL.VISTR.HIDDEN_DIM", 48], "NUM_HEADS 4 it must be a multiple of 32"),
        (
            "DETR",
            ["MODEL.META_ARCHITECTURE", "DeformableDETR", "MODEL.MASK_ON", False],
            "DeformableDETR's encoder",
        ),
    ],
)
def test_options_that_do_not_go_together(system, options, message):
    with pytest.raises(UserError, match=message) as raised:
        build(system, *options)
    assert "\n" not in str(raised.value)
