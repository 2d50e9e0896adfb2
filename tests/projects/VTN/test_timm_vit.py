"""timm's Vision Transformers as frame backbones."""

import builtins

import pytest
import timm
import torch
from d2video.projects.vtn.timm_vit import TimmViT, build_timm_vit_backbone, class_token_block
from detectron2.layers import ShapeSpec
from torch.utils.flop_counter import FlopCounterMode

from d2video.config import get_cfg
from d2video.modeling.backbone import build_frame_backbone
from d2video.projects import register_all
from d2video.utils.errors import UserError
from tests.projects.VTN import tiny  # noqa: F401  registers vit_of_tests

register_all()

TINY = {"img_size": 32, "patch_size": 8, "embed_dim": 48, "depth": 3, "num_heads": 4}


def tiny_vit(name="vit_base_patch16_224", seed=0, **arguments):
    torch.manual_seed(seed)
    vit = timm.create_model(name, num_classes=0, **TINY, **arguments)
    with torch.no_grad():  # the usual 0.02 would hide a wrong attention
        for parameter in vit.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    return vit


def vit_cfg(*options):
    cfg = get_cfg()
    cfg.merge_from_list(["MODEL.BACKBONE.NAME", "build_timm_vit_backbone", *options])
    return cfg


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("vit_base_patch16_224", {}),
        ("vit_base_patch16_224", {"qkv_bias": False, "qk_norm": True, "init_values": 0.5}),
        ("deit_base_patch16_224", {}),
        ("vit_base_patch16_clip_224", {}),  # a norm before the blocks
        ("vit_medium_patch16_reg4_gap_256", {"class_token": True, "global_pool": "token"}),
    ],
)
def test_the_class_token_is_timms(name, arguments):
    vit = tiny_vit(name, **arguments).eval()
    frames = torch.randn(5, 3, 32, 32)
    with torch.no_grad():
        tokens = TimmViT(vit)(frames)["class_token"]
        expected = vit(frames)
    assert tokens.shape == (5, 48, 1, 1)
    assert TimmViT(vit).output_shape()["class_token"].channels == 48
    # float32, of values of order 1; another order of the sums.
    torch.testing.assert_close(tokens[..., 0, 0], expected, rtol=0, atol=2e-6)


def test_last_block_alone():
    """Its first row, to 5e-7 of its values in float32."""
    block = tiny_vit().eval().blocks[-1]
    x = torch.randn(4, 17, 48)
    with torch.no_grad():
        expected = block(x)[:, :1]
        difference = (class_token_block(x, block) - expected).abs().max()
    assert difference < 5e-7 * expected.abs().max()


def test_gradients_and_what_is_drawn_in_training():
    """Stochastic depth draws the same frames; recomputation changes nothing."""
    frames = torch.randn(6, 3, 32, 32)
    runs = []
    for kind in ("timm", "ours", "recomputed"):
        vit = tiny_vit(drop_path_rate=0.5).train()
        torch.manual_seed(7)
        if kind == "timm":
            output = vit(frames)
        else:
            output = TimmViT(vit, kind == "recomputed")(frames)["class_token"].flatten(1)
        output.square().sum().backward()
        runs.append([output.detach(), *(p.grad for p in vit.parameters())])
    for run in runs[1:]:
        for ours, expected in zip(run, runs[0], strict=True):
            # Measured: 2e-7 of the largest gradient.
            scale = max(1.0, float(expected.abs().max()))
            assert (ours - expected).abs().max() < 5e-6 * scale


def test_blocks_of_another_kind_run_whole():
    vit = tiny_vit(
        "vit_base_patch16_224", block_fn=timm.models.vision_transformer.ParallelThingsBlock
    )
    backbone, frames = TimmViT(vit).eval(), torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(backbone(frames)["class_token"][..., 0, 0], vit(frames))


def test_operations_at_the_size_of_vit_b():
    """17.56 to 16.35 billion multiplications a frame."""
    with torch.device("meta"):
        vit = timm.create_model("vit_base_patch16_224", num_classes=0)
        assert sum(p.numel() for p in vit.parameters()) == 85_798_656
        frames = torch.zeros(1, 3, 224, 224)
    counts = []
    for model in (vit, TimmViT(vit)):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model.eval()(frames)
        counts.append(counter.get_total_flops() / 2e9)
    assert counts == pytest.approx([17.56, 16.35], abs=0.006)


def test_built_from_the_config():
    cfg = vit_cfg("MODEL.TIMM.NAME", "vit_of_tests", "MODEL.VTN.VIT.DROP_PATH", 0.2)
    backbone = build_frame_backbone(cfg)
    assert isinstance(backbone, TimmViT)
    assert backbone.image_size == (32, 32)
    assert len(backbone.vit.blocks) == 2
    assert backbone.vit.blocks[-1].drop_path1.drop_prob == pytest.approx(0.2)
    assert backbone.vit.blocks[-1].attn.num_heads == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["MODEL.TIMM.NAME", "vit_nope"], "vit_nope.*does not have"),
        (["MODEL.TIMM.NAME", "resnet18"], "cannot build resnet18 for build_timm_vit"),
        (["MODEL.TIMM.NAME", "test_vit2"], "class token"),
    ],
)
def test_mistakes_in_the_config(options, message):
    cfg = vit_cfg(*options)
    with pytest.raises(UserError, match=message):
        build_timm_vit_backbone(cfg, ShapeSpec(channels=3))


def test_frames_of_another_size():
    with pytest.raises(UserError, match="32x32 pixels, these are 40x24"):
        TimmViT(tiny_vit())(torch.zeros(1, 3, 24, 40))


def test_no_network(monkeypatch):
    def create_model(*_, pretrained, **__):
        assert pretrained
        raise FileNotFoundError("cannot reach huggingface.co\nand more")

    monkeypatch.setattr(timm, "create_model", create_model)
    with pytest.raises(UserError, match=r"\(cannot reach huggingface.co\): set it False") as error:
        build_timm_vit_backbone(vit_cfg("MODEL.TIMM.PRETRAINED", True), ShapeSpec(channels=3))
    assert "\n" not in str(error.value)


def test_timm_is_missing(monkeypatch):
    true_import = builtins.__import__

    def no_timm(name, *arguments, **named):
        if name == "timm":
            raise ImportError(name)
        return true_import(name, *arguments, **named)

    monkeypatch.setattr(builtins, "__import__", no_timm)
    with pytest.raises(UserError, match=r"pip install 'd2video\[timm\]'"):
        build_timm_vit_backbone(vit_cfg(), ShapeSpec(channels=3))
