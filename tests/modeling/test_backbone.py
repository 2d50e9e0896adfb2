"""Frame backbones: the dilated last stage, and mistakes in their config."""

import pytest
import torch
from detectron2.modeling import BACKBONE_REGISTRY
from torchvision.models import resnet50
from torchvision.ops.misc import FrozenBatchNorm2d

from d2video.checkpoint.torchvision_names import torchvision_resnet_name
from d2video.config import get_cfg
from d2video.modeling.backbone import build_frame_backbone
from d2video.utils.errors import UserError


def resnet_cfg(**keys):
    cfg = get_cfg()
    cfg.MODEL.BACKBONE.NAME = "build_resnet_backbone"
    cfg.MODEL.RESNETS.STRIDE_IN_1X1 = False
    cfg.MODEL.RESNETS.OUT_FEATURES = ["res5"]
    for key, value in keys.items():
        cfg.MODEL.RESNETS[key] = value
    return cfg


@torch.no_grad()
def test_dilated_last_stage_equals_torchvision():
    """Official DC5 models rest on torchvision's rule: the first block of the stage is undilated."""
    torch.manual_seed(0)
    theirs = resnet50(
        replace_stride_with_dilation=[False, False, True], norm_layer=FrozenBatchNorm2d
    ).eval()
    ours = build_frame_backbone(resnet_cfg(RES5_DILATION=2)).eval()
    state = theirs.state_dict()
    ours.load_state_dict({name: state[torchvision_resnet_name(name)] for name in ours.state_dict()})
    features = {}
    theirs.layer4.register_forward_hook(lambda *args: features.update(res5=args[2]))
    images = torch.randn(1, 3, 96, 128)
    theirs(images)
    found, expected = ours(images)["res5"], features["res5"]
    assert found.shape[-2:] == (6, 8)
    scale = expected.abs().max()
    torch.testing.assert_close(found / scale, expected / scale, rtol=0, atol=1e-5)


def test_dilation_inside_an_fpn_and_without_res5():
    cfg = resnet_cfg(RES5_DILATION=2, OUT_FEATURES=["res4", "res5"])
    cfg.MODEL.BACKBONE.NAME = "build_resnet_fpn_backbone"
    cfg.MODEL.FPN.IN_FEATURES = ["res4"]
    assert build_frame_backbone(cfg).bottom_up.res5[0].conv2.dilation == (1, 1)
    short = build_frame_backbone(resnet_cfg(RES5_DILATION=2, OUT_FEATURES=["res4"]))
    assert set(short.output_shape()) == {"res4"}


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"DEPTH": 51}, r"RESNETS\.DEPTH is 51: use one of"),
        ({"DEPTH": 18}, r"RES2_OUT_CHANNELS is 256: DEPTH 18 and 34 need 64"),
    ],
)
def test_mistakes_in_the_backbone(keys, message):
    with pytest.raises(UserError, match=message):
        build_frame_backbone(resnet_cfg(**keys))


def test_unknown_backbone():
    cfg = resnet_cfg()
    cfg.MODEL.BACKBONE.NAME = "build_resnet"
    with pytest.raises(UserError, match=r"BACKBONE.NAME is 'build_resnet'.*build_resnet_backbone"):
        build_frame_backbone(cfg)


def test_a_slip_in_the_code_of_a_backbone_is_not_blamed_on_the_config():
    @BACKBONE_REGISTRY.register()
    def build_slip(cfg, input_shape):
        return {}["reset"]

    cfg = resnet_cfg()
    cfg.MODEL.BACKBONE.NAME = "build_slip"
    with pytest.raises(KeyError, match="reset"):
        build_frame_backbone(cfg)
