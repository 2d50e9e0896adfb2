"""A file of weights without a config finds the one of its model."""

import gzip
import json
from argparse import Namespace

import pytest
import torch
from detectron2.modeling import build_model

from d2video.config import load_cfg
from d2video.model_zoo import identify
from d2video.projects import register_all
from d2video.utils.errors import UserError
from tests.helpers.golden_io import GOLDEN

register_all()

R50, DC5 = "DETR/detr_R50_500ep", "DETR/detr_R50_DC5_500ep"


def official(name: str) -> dict[str, torch.Tensor]:
    """Tensors of an official file's names and shapes that take no memory."""
    if name.endswith(".gz"):
        shapes = json.loads(gzip.decompress((GOLDEN / name).read_bytes()))
        shapes = shapes["deformable_multi_frame"]["shapes"]
    else:
        shapes = json.loads((GOLDEN / name).read_text())
    return {key: torch.zeros(1).expand(shape) for key, shape in shapes.items()}


@pytest.fixture
def detr() -> dict[str, torch.Tensor]:
    return official("detr_resnet50_state_dict_shapes.json")


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "checkpoint.pth"
    path.write_bytes(b"any")
    return path


def test_a_file_of_the_zoo_by_its_name_or_address(detr, tmp_path):
    content = {"model": detr}
    named = tmp_path / "detr-r50-dc5-f0fb7ef5.pth"
    assert identify(content, "any", named) == (DC5, ())
    address = "https://dl.fbaipublicfiles.com/detr/detr-r50-e632da11.pth"
    assert identify(content, address, tmp_path / "x.pth") == (R50, ())


def test_the_last_stage_decides_between_models_of_the_same_shapes(detr, file, monkeypatch):
    with pytest.raises(UserError, match=rf"any .* fit several of the zoo: {R50}, {DC5}; give one"):
        identify({"model": detr}, "any", file)
    for dilation, config in ((True, DC5), (False, R50)):
        content = {"model": detr, "args": Namespace(dilation=dilation, nheads=8)}
        assert identify(content, "any", file) == (config, ())
    monkeypatch.setattr(
        "d2video.model_zoo.identification.sha256_of", lambda file: "f0fb7ef5" + 56 * "0"
    )
    assert identify({"model": detr}, "any", file).config == DC5


def test_other_classes_and_queries(detr, file):
    """Of a model that was trained further: COCO's classes and their rows are not its."""
    for name in ("class_embed.weight", "class_embed.bias"):
        detr[name] = detr[name][:4]
    detr["query_embed.weight"] = detr["query_embed.weight"][:50]
    args = Namespace(dilation=False, nheads=4)
    config, opts = identify({"model": detr, "args": args}, "any", file)
    cfg = load_cfg(config, opts)
    assert (config, cfg.MODEL.DETR.NUM_CLASSES, cfg.MODEL.DETR.NUM_QUERIES) == (R50, 3, 50)
    assert cfg.MODEL.DETR.NUM_HEADS == 4
    assert list(cfg.MODEL.DETR.CLASS_LOGITS) == list(cfg.DATASETS.TRAIN) == []


@pytest.mark.parametrize(
    ("file_name", "config"),
    [
        ("vistr_resnet101_state_dict_shapes.json", "VisTR/vistr_R101_ytvis2019"),
        ("vtn_vit_b_state_dict_shapes.json", "VTN/vtn_ViT_B_kinetics400"),
    ],
)
def test_the_only_config_that_fits(file, file_name, config):
    assert identify({"model": official(file_name)}, "any", file).config == config


def test_a_tracker_by_its_place_in_the_official_archive(tmp_path):
    content = {"model": official("trackformer_state_dict_shapes.json.gz")}
    folder = tmp_path / "mot20_crowdhuman_deformable_multi_frame"
    config, _ = identify(content, "any", folder / "checkpoint_epoch_50.pth")
    assert config == "TrackFormer/trackformer_mot20"


@pytest.mark.parametrize(
    ("kind", "sizes", "config"),
    [
        ("Detr", {"dilation": True}, DC5),
        (
            "DeformableDetr",
            {"with_box_refine": True},
            "DeformableDETR/deformable_detr_R50_box_refine",
        ),
    ],
)
def test_the_config_of_the_hub(tmp_path, kind, sizes, config):
    import transformers

    hub = getattr(transformers, f"{kind}Config")(num_labels=91, **sizes)
    hub.save_pretrained(tmp_path)
    with torch.device("meta"):
        model = getattr(transformers, f"{kind}ForObjectDetection")(hub)
    state = {name: torch.zeros(1).expand(v.shape) for name, v in model.state_dict().items()}
    assert identify({"model": state}, "any", tmp_path / "model.safetensors") == (config, ())


def test_a_checkpoint_of_this_library_without_a_config(file):
    model = build_model(load_cfg("VisTR/vistr_R50_ytvis2019", ["MODEL.DEVICE", "meta"]))
    state = {name: torch.zeros(1).expand(v.shape) for name, v in model.state_dict().items()}
    content = {"model": state, "meta_architecture": "VisTR"}
    assert identify(content, "any", file).config == "VisTR/vistr_R50_ytvis2019"


def test_a_published_file_without_a_config(tmp_path):
    content = {"model": {"query_pos": torch.zeros(2)}}
    with pytest.raises(UserError, match=r"no config builds its network .*authors' 50 lines"):
        identify(content, "any", tmp_path / "detr_demo-da2a99e9.pth")


def test_nothing_fits(detr, file):
    with pytest.raises(
        UserError, match="any holds no config, and its parameters fit none of the zoo"
    ):
        identify({"model": {"conv1.weight": torch.zeros(2)}}, "any", file)
    detr["input_proj.bias"] = torch.zeros(3)
    with pytest.raises(UserError, match="fit none of the zoo: give --config-file"):
        identify({"model": detr}, "any", file)
