"""Official checkpoints key by key and back, and weights of timm."""

import json

import numpy as np
import pytest
import timm
import torch
import yaml
from d2video.projects.vtn.converter import pyslowfast_name
from detectron2.modeling import build_model

from d2video.checkpoint import CONVERTER_REGISTRY, VideoCheckpointer, from_foreign, to_foreign
from d2video.cli.convert import main as convert_checkpoint
from d2video.config import load_cfg
from d2video.projects import register_all
from d2video.utils.errors import UserError
from tests.helpers.golden_io import GOLDEN
from tests.projects.VTN.tiny import BACKBONES, NODE, SMALL, build, make_clip

register_all()

OFFICIAL = json.loads((GOLDEN / "vtn_vit_b_state_dict_shapes.json").read_text())
POSITION_IDS = "temporal_encoder.embeddings.position_ids"
PYSLOWFAST = CONVERTER_REGISTRY["VTN"]["pyslowfast"]
TIMM = CONVERTER_REGISTRY["VTN"]["timm"]


@pytest.fixture(scope="module")
def vit_b():
    """The state of the official size, on the meta device."""
    cfg = load_cfg("configs/VTN/vtn_ViT_B_kinetics400.yaml", ["MODEL.DEVICE", "meta"])
    with torch.device("meta"):
        model = build_model(cfg)
    assert sum(p.numel() for p in model.parameters()) == 113_502_352
    return model.state_dict()


def foreign(shapes):
    return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}


def shapes(state):
    return {name: list(value.shape) for name, value in state.items()}


def test_official_file_key_by_key_and_back(vit_b):
    official = foreign(OFFICIAL)
    ours, fresh, unused = from_foreign(official, vit_b, PYSLOWFAST)
    assert shapes(ours) == shapes(vit_b)
    assert fresh == []
    assert unused == [name for name in OFFICIAL if name == POSITION_IDS]
    back = to_foreign(ours, vit_b, PYSLOWFAST)
    assert shapes(back) == {k: v for k, v in OFFICIAL.items() if k != POSITION_IDS}
    for name, value in ours.items():  # each tensor is the one of its foreign name
        assert value is official[pyslowfast_name(name)]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("temporal_encoder.cls_token", "cls_token"),
        ("frame_encoder.backbone.vit.cls_token", "backbone.cls_token"),
        ("head.4.bias", "mlp_head.4.bias"),
        (
            "temporal_encoder.layers.2.norm1.weight",
            "temporal_encoder.encoder.layer.2.attention.output.LayerNorm.weight",
        ),
        (
            "temporal_encoder.layers.0.linear1.bias",
            "temporal_encoder.encoder.layer.0.intermediate.dense.bias",
        ),
        (
            "temporal_encoder.layers.1.attention.key_global.weight",
            "temporal_encoder.encoder.layer.1.attention.self.key_global.weight",
        ),
        (
            "temporal_encoder.embeddings.token_type.weight",
            "temporal_encoder.embeddings.token_type_embeddings.weight",
        ),
    ],
)
def test_names_whose_shapes_do_not_tell_them_apart(ours, theirs):
    assert pyslowfast_name(ours) == theirs
    assert theirs in OFFICIAL


def test_files_with_and_without_position_ids(vit_b):
    official = foreign({k: v for k, v in OFFICIAL.items() if k != POSITION_IDS})
    assert from_foreign(official, vit_b, PYSLOWFAST)[2] == []
    old = official | foreign({POSITION_IDS: [1, 288]})
    assert from_foreign(old, vit_b, PYSLOWFAST)[2] == [POSITION_IDS]


def test_checkpoint_of_another_model(vit_b):
    wrong = {"mlp_head.4.weight": [174, 768], "mlp_head.4.bias": [174]}
    with pytest.raises(UserError, match="misshapen: mlp_head.4"):
        from_foreign(foreign(OFFICIAL | wrong), vit_b, PYSLOWFAST)
    with pytest.raises(UserError, match="no parameter of the format 'official VTN"):
        from_foreign(foreign({"s1.pathway0_stem.conv.weight": [64, 3]}), vit_b, PYSLOWFAST)
    deeper = {
        name.replace("layer.2", "layer.3"): shape
        for name, shape in OFFICIAL.items()
        if "layer.2." in name
    }
    with pytest.raises(UserError, match="unknown: temporal_encoder.encoder.layer.3"):
        from_foreign(foreign(OFFICIAL | deeper), vit_b, PYSLOWFAST)


# ---- the tool -----------------------------------------------------------------------------------


@pytest.fixture
def config(tmp_path):
    """A config file of the tiny ViT."""
    values: dict = {}
    flat = [*SMALL, *BACKBONES["vit"]]
    for key, value in zip(flat[::2], flat[1::2]):
        node = values
        *path, last = key.split(".")
        for part in path:
            node = node.setdefault(part, {})
        node[last] = value
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump({**values, "VERSION": 2}))
    return str(path)


def run_tool(config, fmt, source, target, *more):
    paths = ["--input", str(source), "--output", str(target)]
    convert_checkpoint(["--config-file", config, "--format", fmt, *paths, *more])


def test_the_tool_reads_and_writes_pyslowfast_files(tmp_path, config, capsys):
    model = build("vit", seed=3)
    state = model.state_dict()
    official = {pyslowfast_name(name): value for name, value in state.items()}
    extra = {POSITION_IDS: torch.arange(40)[None]}
    torch.save(
        {"epoch": 24, "model_state": official | extra, "cfg": "a: 1"}, tmp_path / "official.pyth"
    )
    run_tool(config, "pyslowfast", tmp_path / "official.pyth", tmp_path / "ours.pth")
    assert POSITION_IDS in capsys.readouterr().out
    other = build("vit", seed=4)
    clip = make_clip()
    assert not torch.equal(other([clip])[0]["scores"], model([clip])[0]["scores"])
    VideoCheckpointer(other, strict=True).load(str(tmp_path / "ours.pth"))
    assert torch.equal(other([clip])[0]["scores"], model([clip])[0]["scores"])

    run_tool(config, "pyslowfast", tmp_path / "ours.pth", tmp_path / "back.pyth", "--reverse")
    back = torch.load(tmp_path / "back.pyth", weights_only=True)["model_state"]
    assert back.keys() == official.keys()
    assert all(torch.equal(back[name], official[name]) for name in back)


def test_the_tool_reads_files_of_timm(tmp_path, config, capsys):
    vit = timm.create_model(
        "vit_base_patch16_224",
        img_size=32,
        patch_size=8,
        embed_dim=32,
        depth=2,
        num_heads=4,
        num_classes=7,
    ).eval()
    torch.save(vit.state_dict(), tmp_path / "timm.pth")
    run_tool(config, "timm", tmp_path / "timm.pth", tmp_path / "ours.pth")
    text = capsys.readouterr().out
    assert "are newly initialised: temporal_encoder.cls_token" in text
    assert "2 parameters are not used: head.weight, head.bias" in text
    model = build("vit")
    VideoCheckpointer(model).load(str(tmp_path / "ours.pth"))
    frames = make_clip()["image"]
    vit.reset_classifier(0)
    with torch.no_grad():
        expected = vit(model.frame_encoder.normalize(frames))
        torch.testing.assert_close(model.frame_encoder(frames), expected, rtol=0, atol=2e-6)


def test_the_tool_refuses_a_file_of_another_model(tmp_path, config, capsys):
    torch.save({"model_state": {"a": torch.zeros(1)}}, tmp_path / "x.pyth")
    with pytest.raises(SystemExit):
        run_tool(config, "pyslowfast", tmp_path / "x.pyth", tmp_path / "y.pth")
    assert "no parameter of the format" in capsys.readouterr().err
    official = {pyslowfast_name(name): v for name, v in build("vit").state_dict().items()}
    torch.save({"model_state": official}, tmp_path / "x.pyth")
    with pytest.raises(SystemExit):
        run_tool(
            config, "pyslowfast", tmp_path / "x.pyth", tmp_path / "y.pth", f"{NODE}NUM_CLASSES", "6"
        )
    assert "misshapen: mlp_head.4" in capsys.readouterr().err


def test_golden_weights_have_the_official_names():
    """The tiny golden model's temporal encoder and head."""
    archive = np.load(GOLDEN / "vtn_temporal_tiny.npz")
    names = {name.removeprefix("sd.") for name in archive.files if name.startswith("sd.")}
    ours = build("vit").state_dict()
    converted = {pyslowfast_name(name) for name in ours if "backbone" not in name}
    assert names - converted == {POSITION_IDS}
    assert converted <= names
