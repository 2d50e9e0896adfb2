"""Networks of timm as backbones, by name."""

import pytest
import timm
import torch
from detectron2.layers import ShapeSpec

from d2video.config import get_cfg
from d2video.modeling.backbone import build_frame_backbone
from d2video.utils.errors import UserError


def build(name, key="NAME", value=None):
    """The backbone, with another key of MODEL.TIMM."""
    cfg = get_cfg()
    cfg.MODEL.BACKBONE.NAME = "build_timm_backbone"
    cfg.MODEL.TIMM.NAME = name
    cfg.MODEL.TIMM[key] = name if value is None else value
    torch.manual_seed(0)
    return build_frame_backbone(cfg)


# Stages that come channels first, and channels last (Swin; here of a single block a stage).
@pytest.mark.parametrize("name", ["test_resnet", "test_convnext", "swin_tiny_patch4_window7_224"])
@torch.no_grad()
def test_stages_are_timms(name, monkeypatch):
    if name.startswith("swin"):
        create = timm.create_model
        small = {"img_size": 64, "window_size": 2, "depths": (1, 1, 1, 1), "embed_dim": 24}
        monkeypatch.setattr(timm, "create_model", lambda *a, **k: create(*a, **k, **small))
    backbone = build(name).eval()
    images = torch.randn(2, 3, 64, 64)
    found = backbone(images)
    shapes = backbone.output_shape()
    assert list(found) == list(shapes) == [f"stage{i + 1}" for i in range(len(shapes))]
    for stage, feature in found.items():
        side = 64 // shapes[stage].stride
        assert feature.shape == (2, shapes[stage].channels, side, side)
    last = backbone.net(images)[-1]
    last = last.permute(0, 3, 1, 2) if name.startswith("swin") else last
    assert torch.equal(found[f"stage{len(shapes)}"], last)


def test_frames_have_gradients_everywhere():
    backbone = build("test_resnet")
    list(backbone(torch.randn(2, 3, 32, 32)).values())[-1].sum().backward()
    assert all(parameter.grad is not None for parameter in backbone.parameters())


@pytest.mark.parametrize(
    ("name", "stages", "message"),
    [
        ("resnet_nope", [], "MODEL.TIMM.NAME is 'resnet_nope', which timm .* does not have"),
        ("vit_tiny_patch16_224", [], r"strides \[16, 16, 16\].*build_timm_vit_backbone"),
        ("test_resnet", ["res2"], r"OUT_FEATURES is \['res2'\]: name stages from fine to coarse"),
        ("test_resnet", ["stage3", "stage2"], "name stages from fine to coarse"),
        ("test_resnet", ["stage6"], "OUT_FEATURES is .*: test_resnet has fewer stages"),
    ],
)
def test_mistakes(name, stages, message):
    with pytest.raises(UserError, match=message):
        build(name, "OUT_FEATURES", stages)


def test_channels_of_the_image():
    from d2video.modeling.timm_backbone import build_timm_backbone

    cfg = get_cfg()
    cfg.MODEL.TIMM.NAME = "test_resnet"
    grey = build_timm_backbone(cfg, ShapeSpec(channels=1))
    assert grey.eval()(torch.randn(1, 1, 32, 32))["stage5"].shape[-2:] == (1, 1)


# A network that ends by itself at the last stage asked for, and one that timm always computes whole.
@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet"])
@torch.no_grad()
def test_some_stages(name):
    whole, part = build(name).eval(), build(name, "OUT_FEATURES", ["stage2", "stage3"]).eval()
    state = whole.state_dict()
    part.load_state_dict({key: state[key] for key in part.state_dict()})
    images = torch.randn(1, 3, 64, 64)
    wanted, found = whole(images), part(images)
    assert list(found) == ["stage2", "stage3"]
    for stage, feature in found.items():
        assert torch.equal(feature, wanted[stage])
        assert part.output_shape()[stage] == whole.output_shape()[stage]
    # All that is built is used: parameters without a gradient would stop a training of several processes.
    with torch.enable_grad():
        part(images)["stage3"].sum().backward()
    assert all(parameter.grad is not None for parameter in part.parameters())


def test_frozen_batch_norms():
    backbone = build("test_efficientnet", "FREEZE_NORM", True)
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    list(backbone(torch.randn(2, 3, 64, 64) + 3).values())[-1].sum().backward()
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())
    learning = {name for name, parameter in backbone.named_parameters()}
    assert "net.conv_stem.weight" in learning
    assert not any(".bn" in name for name in learning)
    assert {name for name in build("test_efficientnet").state_dict() if ".bn" in name} >= {
        name for name in before if ".bn" in name
    }
