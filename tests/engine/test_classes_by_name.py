"""A training's labels are matched by name: with a checkpoint's classes, and several sets with each other."""

import itertools
import json

import pytest
import torch

from d2video.data import register_ytvis_instances
from d2video.data.datasets.coco import register_coco
from d2video.data.datasets.video_classification import register_video_folders
from d2video.engine import VideoTrainer
from d2video.synthetic import (
    MotionSpec,
    ShapesSpec,
    write_coco_shapes,
    write_motion_videos,
    write_ytvis_shapes,
)
from d2video.utils.errors import UserError
from tests.projects.DETR import tiny as detr
from tests.projects.VisTR import tiny as vistr
from tests.projects.VTN import system as vtn

SHAPES = ["circle", "square", "triangle"]
COMMON = [
    *("SEED", 3, "DATASETS.TEST", [], "DATALOADER.NUM_WORKERS", 0, "SOLVER.IMS_PER_BATCH", 2),
    *("SOLVER.MAX_ITER", 2, "SOLVER.STEPS", [], "SOLVER.CHECKPOINT_PERIOD", 2),
]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    root = tmp_path_factory.mktemp("shapes")
    spec = ShapesSpec(height=48, width=64, num_frames=(4, 4))
    write_ytvis_shapes(root / "ytvis", {"train": 3}, spec, progress=False)
    write_coco_shapes(root / "coco", {"train": 6}, spec, progress=False)
    return root


FORMATS = {
    "ytvis": (register_ytvis_instances, "ytvis/train.json", "ytvis/train/JPEGImages"),
    "coco": (register_coco, "coco/annotations/instances_train.json", "coco/train"),
}


@pytest.fixture
def register(files, tmp_path, scratch_catalog):
    def register(name: str, kind: str, categories: dict[str, int], keep=SHAPES) -> None:
        """A generated set with its categories under other ids, and whatever else ``categories`` has."""
        add, labels, images = FORMATS[kind]
        content = json.loads((files / labels).read_text())
        names = {category["id"]: category["name"] for category in content["categories"]}
        kept = [a for a in content["annotations"] if names[a["category_id"]] in keep]
        for annotation in kept:
            annotation["category_id"] = categories[names[annotation["category_id"]]]
        content["annotations"] = kept
        content["categories"] = [{"id": i, "name": n} for n, i in categories.items()]
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(content))
        add(name, {}, str(path), str(files / images))

    register("usual", "ytvis", {"circle": 1, "square": 2, "triangle": 3})
    register("usual_coco", "coco", {"circle": 1, "square": 2, "triangle": 3})
    return register


def in_folder(cfg, output):
    output.mkdir(exist_ok=True)
    cfg = cfg.clone()
    cfg.OUTPUT_DIR = str(output)
    return cfg


def trained(cfg, output, stop=2, resume=False):
    """The checkpoint of a training up to step ``stop`` of 2."""
    torch.manual_seed(0)
    trainer = VideoTrainer(in_folder(cfg, output))
    trainer.max_iter = stop
    trainer.resume_or_load(resume=resume)
    trainer.train()
    return torch.load(output / "model_final.pth", weights_only=True)


def vistr_cfg(*datasets, **changes):
    options = [item for key, value in changes.items() for item in (key.replace("__", "."), value)]
    return vistr.tiny_cfg(*COMMON, "DATASETS.TRAIN", [*datasets], *options)


def detr_cfg(*datasets, **changes):
    options = [item for key, value in changes.items() for item in (key.replace("__", "."), value)]
    config = "configs/DETR/detr_tiny_shapes.yaml"
    return detr.tiny_cfg(*COMMON, "DATASETS.TRAIN", [*datasets], *options, config=config)


def assert_same_training(one, other):
    assert one["class_names"] == other["class_names"]
    for name, value in one["model"].items():
        assert torch.equal(other["model"][name], value), name
    optimizers = [each["trainer"]["_trainer"]["optimizer"]["state"] for each in (one, other)]
    for index, state in optimizers[0].items():
        for key, value in state.items():
            assert torch.equal(torch.as_tensor(optimizers[1][index][key]), torch.as_tensor(value))


@pytest.mark.parametrize(
    ("kind", "categories"),
    [
        ("ytvis", {"triangle": 1, "circle": 2, "square": 3}),
        ("ytvis", {"background": 0, "circle": 1, "square": 2, "triangle": 3}),
        ("coco", {"shape": 7, "square": 1, "circle": 9, "triangle": 12}),
    ],
    ids=["another order", "dummy class 0", "parent class"],
)
def test_resumed_on_other_categories(register, tmp_path, caplog, kind, categories):
    usual, make = ("usual", vistr_cfg) if kind == "ytvis" else ("usual_coco", detr_cfg)
    register("other", kind, categories)
    whole = trained(make(usual), tmp_path / "whole")
    assert whole["class_names"] == SHAPES
    trained(make(usual), tmp_path / "parts", stop=1)
    parts = trained(make("other"), tmp_path / "parts", resume=True)
    assert_same_training(whole, parts)
    told = "classes are used; left out: 1 that the model lacks, without annotations"
    assert (told in caplog.text) == (len(categories) > 3)


def test_fine_tuning_keeps_the_checkpoints_order(register, tmp_path):
    register("other", "ytvis", {"background": 0, "triangle": 2, "circle": 5}, keep=SHAPES[::2])
    trained(vistr_cfg("usual"), tmp_path / "first", stop=1)
    weights = {"MODEL__WEIGHTS": str(tmp_path / "first/model_final.pth")}
    register("same", "ytvis", {"circle": 1, "square": 2, "triangle": 3}, keep=SHAPES[::2])
    expected = trained(vistr_cfg("same", **weights), tmp_path / "same", stop=1)
    tuned = trained(vistr_cfg("other", **weights), tmp_path / "tuned", stop=1)
    assert tuned["class_names"] == SHAPES
    assert_same_training(expected, tuned)

    anew = {**weights, "MODEL__WEIGHTS_IGNORE": ("network.class_embed.",)}
    content = trained(vistr_cfg("other", **anew), tmp_path / "anew", stop=1)
    assert content["class_names"] == ["background", "triangle", "circle"]


def test_classes_that_the_checkpoint_lacks(register, tmp_path):
    register("first", "ytvis", {"circle": 1, "square": 2}, keep=SHAPES[:2])
    trained(vistr_cfg("first"), tmp_path / "first", stop=1)
    weights = str(tmp_path / "first/model_final.pth")
    trainer = VideoTrainer(vistr_cfg("usual", MODEL__WEIGHTS=weights, OUTPUT_DIR=str(tmp_path)))
    with pytest.raises(UserError) as error:
        trainer.resume_or_load(resume=False)
    assert "dataset usual has annotations of 'triangle', which checkpoint" in str(error.value)
    assert "MODEL.WEIGHTS_IGNORE \"('network.class_embed.',)\"" in str(error.value)
    resumed = vistr_cfg("usual", OUTPUT_DIR=str(tmp_path / "first"))
    with pytest.raises(UserError, match="resume with the data that the training began with"):
        VideoTrainer(resumed).resume_or_load(resume=True)


def test_more_classes_than_the_model(register, tmp_path):
    cfg = vistr_cfg("usual", MODEL__VISTR__NUM_CLASSES=2, OUTPUT_DIR=str(tmp_path))
    with pytest.raises(UserError, match=r"usual has 3 classes: set \S+NUM_CLASSES to 3 or more"):
        VideoTrainer(cfg).resume_or_load(resume=False)


def test_several_sets(register, tmp_path):
    """The first set's order holds; of the others it must have the classes that they annotate."""
    register("other", "ytvis", {"thing": 0, "triangle": 1, "circle": 2}, keep=SHAPES[::2])
    register("same", "ytvis", {"circle": 1, "square": 2, "triangle": 3}, keep=SHAPES[::2])
    expected = trained(vistr_cfg("usual", "same"), tmp_path / "same")
    mapped = trained(vistr_cfg("usual", "other"), tmp_path / "other")
    assert_same_training(expected, mapped)
    last = trained(vistr_cfg("other", "usual"), tmp_path / "last", stop=1)
    assert last["class_names"] == SHAPES
    register("one", "ytvis", {"circle": 1, "square": 2}, keep=SHAPES[:2])
    with pytest.raises(UserError, match="'triangle', which dataset one does not know"):
        VideoTrainer(vistr_cfg("one", "other"))


def test_videos_of_a_class(tmp_path, scratch_catalog):
    """Video classification, with class_names in another order."""
    spec = MotionSpec(height=32, width=32, num_frames=(9, 9))
    write_motion_videos(tmp_path / "motion", {"train": 8}, spec, progress=False)
    folder = tmp_path / "motion/train"
    names = sorted(path.name for path in folder.iterdir())
    register_video_folders("sorted", str(folder))
    register_video_folders("reversed", str(folder), class_names=names[::-1])
    usual, other = (
        vtn.training_cfg(*COMMON, "DATASETS.TRAIN", [n]) for n in ("sorted", "reversed")
    )
    trained(usual, tmp_path / "parts", stop=1)
    loaded = VideoTrainer(in_folder(other, tmp_path / "parts"))
    loaded.resume_or_load(resume=True)
    loaded.resume_or_load(resume=True)  # changes nothing
    batches = itertools.islice(loaded.data_loader, 6)
    labels = {sample["file_name"]: sample["label"] for batch in batches for sample in batch}
    assert len(labels) > 3
    assert all(names[label] in path for path, label in labels.items())
