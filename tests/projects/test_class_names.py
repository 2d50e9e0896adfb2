"""What predictions call the classes: the checkpoint's names, wherever the data are."""

import json

import numpy as np
import pytest
import torch
from detectron2.data import MetadataCatalog
from detectron2.data.datasets.builtin_meta import COCO_CATEGORIES
from detectron2.modeling import build_model

from d2video.checkpoint import VideoCheckpointer
from d2video.config import load_cfg
from d2video.data.datasets.ytvis_categories import YTVIS_2019_CLASSES
from d2video.inference import VideoPredictor, annotate
from d2video.projects import register_all
from d2video.structures import ClassHead, set_class_names
from d2video.video.video_reader import open_video
from tests.projects.DETR import tiny as detr
from tests.projects.IPT import tiny as ipt
from tests.projects.TrackFormer import tiny as trackformer
from tests.projects.VisTR import tiny as vistr
from tests.projects.VTN import tiny as vtn

# Names by row of the class head, and what the predictor calls the classes.
SYSTEMS = {
    "VisTR": (
        vistr.tiny_cfg,
        ["MODEL.VISTR.NUM_CLASSES", 3, "MODEL.VISTR.LABEL_OFFSET", 1],
        ["", "cat", "dog"],
        ["cat", "dog"],
    ),
    "DETR": (
        detr.tiny_cfg,
        ["MODEL.DETR.CLASS_LOGITS", [3, 1], "INPUT.MIN_SIZE_TEST", 40],
        ["", "cat", "", "dog"],
        ["dog", "cat"],
    ),
    "TrackFormer": (
        lambda *options: trackformer.tiny_cfg("detr", *options),
        ["INPUT.MIN_SIZE_TEST", 40],
        ["cat", "dog"],
        ["cat", "dog", ""],
    ),
    "VTN": (
        lambda *options: vtn.tiny_cfg("resnet", *options),
        ["MODEL.VTN.NUM_CLASSES", 2, "INPUT.MIN_SIZE_TEST", 32],
        ["cat", "dog"],
        ["cat", "dog"],
    ),
}


def checkpoint(cfg, folder, by_row):
    """Of a model of random numbers; the config names data sets that are not there."""
    torch.manual_seed(0)
    model = build_model(cfg)
    set_class_names(model, ClassHead.of(model).by_index(by_row))
    VideoCheckpointer(model, str(folder)).save("model")
    cfg.MODEL.WEIGHTS = str(folder / "model.pth")
    cfg.DATASETS.TRAIN = cfg.DATASETS.TEST = ("none_such",)
    assert torch.load(cfg.MODEL.WEIGHTS, weights_only=True)["class_names"] == by_row
    return cfg


def video():
    rng = np.random.default_rng(0)
    return open_video(rng.integers(0, 256, (3, 40, 56, 3), dtype=np.uint8), fps=10)


@pytest.mark.parametrize("system", SYSTEMS)
def test_names_without_data(system, tmp_path, caplog):
    make, options, by_row, shown = SYSTEMS[system]
    predictor = VideoPredictor(checkpoint(make(*options), tmp_path, by_row))
    assert predictor.class_names == shown
    assert "unknown" not in caplog.text
    results = tmp_path / "results.json"
    annotate(predictor, video(), tmp_path / "out.mp4", results={"results": results})
    content = json.loads(results.read_text())
    assert content["categories"] == shown
    if system == "VTN":
        assert set(predictor.classify(video(), topk=2).names) == {"cat", "dog"}
    else:
        assert any(frame["instances"] for frame in content["frames"])


def test_a_panoptic_map(tmp_path):
    options = ["MODEL.MASK_ON", True, "MODEL.DETR.PANOPTIC.ENABLED", True]
    options += ["MODEL.DETR.PANOPTIC.NUM_THINGS", 2, "MODEL.DETR.PANOPTIC.SCORE_THRESH", 0.0]
    by_row = ["cat", "dog", "sea", "sky"]
    cfg = checkpoint(detr.tiny_cfg(*options, "INPUT.MIN_SIZE_TEST", 40), tmp_path, by_row)
    predictor = VideoPredictor(cfg)
    assert predictor.class_names == by_row
    annotate(predictor, video(), tmp_path / "out.mp4")


@pytest.mark.parametrize(
    ("config", "by_row"),
    [
        ("DETR/detr_R50_500ep", {c["id"]: c["name"] for c in COCO_CATEGORIES if c["isthing"]}),
        ("DETR/detr_panoptic_R50", {c["id"]: c["name"] for c in COCO_CATEGORIES}),
        ("VisTR/vistr_R50_ytvis2019", dict(enumerate(YTVIS_2019_CLASSES, 1))),
        ("VisTR/vistr_R50_ytvis2021", {0: "airplane", 39: "zebra"}),
        ("TrackFormer/trackformer_crowdhuman", {0: "person"}),
    ],
)
def test_rows_of_official_models(config, by_row):
    """The official models' rows are the ids of their data's categories."""
    register_all()
    cfg = load_cfg(f"configs/{config}.yaml", ["MODEL.DEVICE", "meta"])
    names = MetadataCatalog.get(cfg.DATASETS.TRAIN[0]).thing_classes
    found = ClassHead.of(build_model(cfg)).by_row(names)
    for row, name in by_row.items():
        assert found[row].removesuffix("-merged").removesuffix("-other") in name
    if len(by_row) > 2:
        assert sum(map(bool, found)) == len(by_row)


def test_restoration_has_no_classes(tmp_path):
    cfg = ipt.tiny_cfg()
    model = build_model(cfg)
    VideoCheckpointer(model, str(tmp_path)).save("model")
    cfg.MODEL.WEIGHTS = str(tmp_path / "model.pth")
    assert "class_names" not in torch.load(cfg.MODEL.WEIGHTS, weights_only=True)
    assert VideoPredictor(cfg).class_names is None
