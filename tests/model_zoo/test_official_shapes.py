"""The config of each row builds a network with the parameters of the official file, on no device."""

import gzip
import json
import re

import pytest
import torch
from detectron2.modeling import build_model

from d2video.checkpoint import checkpoint_format
from d2video.checkpoint.convert import adapt_foreign, from_foreign
from d2video.config import load_cfg
from d2video.model_zoo import ENTRIES
from d2video.projects import register_all
from tests.helpers import ROOT

GOLDEN = ROOT / "tests" / "golden"
Shapes = dict[str, list[int]]
register_all()
BY_CONFIG = {entry.config: entry for entry in ENTRIES if entry.config}


def read(name: str) -> Shapes:
    content = json.loads((GOLDEN / f"{name}_state_dict_shapes.json").read_text())
    return {k: v[0] if v and isinstance(v[0], list) else v for k, v in content.items()}


def tracker(name: str) -> Shapes:
    path = GOLDEN / "trackformer_state_dict_shapes.json.gz"
    return json.loads(gzip.decompress(path.read_bytes()))[name]["shapes"]


def panoptic_r101() -> Shapes:
    """The panoptic R50's names with the backbone of R101."""
    backbone = {
        f"detr.{k}": v for k, v in read("detr_resnet101").items() if k.startswith("backbone.")
    }
    others = read("detr_resnet50_panoptic").items()
    return {k: v for k, v in others if not k.startswith("detr.backbone.")} | backbone


def one_task(number: int) -> Shapes:
    """The official IPT of the task of this number alone, which is then number 0."""
    found = {}
    for name, shape in read("ipt_full6").items():
        if match := re.match(r"(head|tail)\.(\d+)\.(.*)", name):
            if int(match[2]) != number:
                continue
            name = f"{match[1]}.0.{match[3]}"
        found[name] = [1, *shape[1:]] if name == "body.query_embed.weight" else shape
    return found


OFFICIAL = {
    "DETR/detr_R50_500ep": lambda: read("detr_resnet50"),
    "DETR/detr_R50_DC5_500ep": lambda: read("detr_resnet50"),
    "DETR/detr_R101_500ep": lambda: read("detr_resnet101"),
    "DETR/detr_R101_DC5_500ep": lambda: read("detr_resnet101"),
    "DETR/detr_panoptic_R50": lambda: read("detr_resnet50_panoptic"),
    "DETR/detr_panoptic_R50_DC5": lambda: read("detr_resnet50_panoptic"),
    "DETR/detr_panoptic_R101": panoptic_r101,
    "VisTR/vistr_R50_ytvis2019": lambda: read("vistr_resnet50"),
    "VisTR/vistr_R101_ytvis2019": lambda: read("vistr_resnet101"),
    "VTN/vtn_ViT_B_kinetics400": lambda: read("vtn_vit_b"),
    # Tasks of the official list of six: x2, x3, x4, rain, noise 30, noise 50.
    **{
        f"IPT/ipt_finetune_{task}": lambda number=number: one_task(number)
        for number, task in enumerate(
            ("sr_x2", "sr_x3", "sr_x4", "derain", "denoise_30", "denoise_50")
        )
    },
    "IPT/ipt_pretrain_imagenet": lambda: read("ipt_full6"),
    **{
        f"TrackFormer/trackformer_{name}": lambda: tracker("deformable_multi_frame")
        for name in ("mot17_private", "mot17_public", "mot20", "crowdhuman")
    },
    "TrackFormer/trackformer_mots20": lambda: tracker("detr_masks_track_attention"),
    "DeformableDETR/deformable_detr_R50_box_refine": lambda: tracker("deformable_detr_coco"),
}


@pytest.mark.parametrize("config", OFFICIAL)
def test_parameters(config):
    entry = BY_CONFIG[config]
    cfg = load_cfg(config, [*entry.opts, "MODEL.DEVICE", "meta"])
    with torch.device("meta"):
        ours = build_model(cfg).state_dict()
        official = {name: torch.empty(shape) for name, shape in OFFICIAL[config]().items()}
    fmt = checkpoint_format(cfg.MODEL.META_ARCHITECTURE, entry.format)
    adapted, _ = adapt_foreign(official, ours, fmt)
    converted, fresh, _ = from_foreign(adapted, ours, fmt)  # refuses what does not fit
    assert fresh == []
    assert {name: value.shape for name, value in converted.items()} == {
        name: value.shape for name, value in ours.items()
    }


FIRST_AND_NUMBER = {
    "coco_2017_train": ("person", 80),
    "coco_2017_train_panoptic": ("person", 133),
    "ytvis_2019_train": ("person", 40),
    "kinetics400_train": ("abseiling", 400),
    "mot17_train": ("person", 1),
    "mot20_train": ("person", 1),
    "mots20_train": ("person", 1),
    "crowdhuman_train": ("person", 1),
}


@pytest.mark.parametrize("config", [c for c in BY_CONFIG if not c.startswith("IPT")])
def test_class_names_without_data_on_disk(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first, number = FIRST_AND_NUMBER[load_cfg(config, []).DATASETS.TRAIN[0]]
    names = BY_CONFIG[config].class_names
    assert (names[0], len(names), len({*names})) == (first, number, number)
