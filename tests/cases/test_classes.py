"""A model's classes are those of a test set by name, whatever their numbers, in every format.

The model is a stub that knows the labels of the test set and answers them in its own classes.
"""

import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pycocotools.mask as coco_mask
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets import register_coco_instances
from detectron2.structures import Boxes, BoxMode, Instances
from torch import nn

from d2video.cli.dataset_check import check_classes
from d2video.config import get_cfg
from d2video.data import register_video_list, register_ytvis_instances
from d2video.data.datasets.coco_panoptic import register_coco_panoptic
from d2video.data.datasets.coco_tracks import register_coco_tracks
from d2video.engine import VideoTrainer
from d2video.evaluation import match_test_sets
from d2video.formats import faults
from d2video.formats.panoptic_png import segment_ids
from d2video.formats.rle import to_rle
from d2video.projects import register_all
from d2video.synthetic import MotionSpec, ShapesSpec, write_coco_shapes, write_motion_videos
from d2video.utils.errors import UserError
from d2video.video.image_io import read_rgb
from tests.cases.conftest import INPUTS
from tests.projects.DETR.tiny import tiny_cfg

register_all()  # the mapper of tracks


@dataclass
class Format:
    """How a format's sets are registered and answered.

    Attributes:
        content: of a file, with ``categories`` and ``annotations``.
        register: a content under a name.
        answer: to a mapped input, its record and the model's number of each class of the data set.
        options: config keys and values.
        best: the metrics that a perfect model has at 100, as task and name.
    """

    content: dict[str, Any]
    register: Callable[[str, dict[str, Any]], None]
    answer: Callable[[dict, dict, list[int]], dict[str, Any]]
    options: tuple[Any, ...]
    best: tuple[tuple[str, str], ...]


def written(folder: Path, name: str, content: dict) -> str:
    path = folder / f"{name}.json"
    path.write_text(json.dumps(content))
    return str(path)


def instances(record: dict, annotations: list[dict], numbers: list[int]) -> Instances:
    boxes = [BoxMode.convert(a["bbox"], a["bbox_mode"], BoxMode.XYXY_ABS) for a in annotations]
    return Instances(
        (record["height"], record["width"]),
        pred_boxes=Boxes(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)),
        scores=torch.full((len(annotations),), 0.9),
        pred_classes=torch.tensor([numbers[a["category_id"]] for a in annotations]).long(),
    )


def rles(record: dict, annotations: list[dict]) -> list[dict]:
    return [to_rle(a["segmentation"], record["height"], record["width"]) for a in annotations]


def coco(pictures: Path, folder: Path) -> Format:
    root = pictures / "shapes_coco"

    def answer(given, record, numbers):
        found = instances(record, record["annotations"], numbers)
        masks = [coco_mask.decode(rle) for rle in rles(record, record["annotations"])]
        size = (len(masks), record["height"], record["width"])
        found.pred_masks = torch.from_numpy(np.array(masks, dtype=bool).reshape(size))
        return {"instances": found}

    return Format(
        json.loads((root / "annotations/instances_val.json").read_text()),
        lambda name, content: register_coco_instances(
            name, {}, written(folder, name, content), str(root / "val")
        ),
        answer,
        ("INPUT.DATASET_MAPPER", "DatasetMapper"),
        (("bbox", "AP"), ("segm", "AP")),
    )


def panoptic(pictures: Path, folder: Path) -> Format:
    root = folder / "shapes_coco"
    spec = ShapesSpec(height=48, width=64, stuff=("grass", "water"))
    write_coco_shapes(root, {"val": 4}, spec, panoptic=True, progress=False)

    def answer(given, record, numbers):
        ids = torch.from_numpy(segment_ids(read_rgb(record["pan_seg_file_name"])).astype(np.int64))
        segments = [
            {**s, "category_id": numbers[s["category_id"]]} for s in record["segments_info"]
        ]
        ids[~torch.isin(ids, torch.tensor([s["id"] for s in segments]))] = 0
        return {"panoptic_seg": (ids, segments)}

    return Format(
        json.loads((root / "annotations/panoptic_val.json").read_text()),
        lambda name, content: register_coco_panoptic(
            name, {}, str(root / "val"), str(root / "panoptic_val"), written(folder, name, content)
        ),
        answer,
        ("INPUT.DATASET_MAPPER", "DatasetMapper"),
        (("panoptic_seg", "PQ"), ("panoptic_seg", "PQ_th"), ("panoptic_seg", "PQ_st")),
    )


def ytvis(pictures: Path, folder: Path) -> Format:
    root = pictures / "shapes"

    def answer(given, record, numbers):
        frames = [{a["id"]: a for a in frame} for frame in record["annotations"]]
        tracks = sorted({i: a for frame in frames for i, a in frame.items()}.items())
        return {
            "image_size": (record["height"], record["width"]),
            "pred_scores": [0.9] * len(tracks),
            "pred_labels": [numbers[a["category_id"]] for _, a in tracks],
            "pred_masks": [
                [rles(record, [frame[i]])[0] if i in frame else None for frame in frames]
                for i, _ in tracks
            ],
            "pred_ids": [i for i, _ in tracks],
        }

    return Format(
        json.loads((root / "train.json").read_text()),
        lambda name, content: register_ytvis_instances(
            name, {}, written(folder, name, content), str(root / "train/JPEGImages")
        ),
        answer,
        ("INPUT.DATASET_MAPPER", "ClipDatasetMapper"),
        (("segm", "AP"), ("segm", "AR10")),
    )


def classification(pictures: Path, folder: Path) -> Format:
    """The "file" has a category and a video an annotation."""
    spec = MotionSpec(
        height=16, width=16, num_frames=(3, 3), classes=("left", "right", "clockwise")
    )
    write_motion_videos(folder / "motion", {"val": 6}, spec, progress=False)
    paths = sorted((folder / "motion/val").glob("*/*.mp4"))

    def register(name, content):
        by_id = {c["id"]: c["name"] for c in content["categories"]}
        labels = {i: label for label, i in enumerate(sorted(by_id))}
        lines = [f"{a['path']} {labels[a['category_id']]}" for a in content["annotations"]]
        (folder / f"{name}.txt").write_text("\n".join(lines))
        names = [by_id[i] for i in sorted(by_id)]
        register_video_list(name, str(folder / f"{name}.txt"), class_names=names)

    def answer(given, record, numbers):
        scores = torch.zeros(3)
        scores[numbers[record["label"]]] = 1
        return {"scores": scores}

    names = list(spec.classes)
    return Format(
        {
            "categories": [{"id": i, "name": name} for i, name in enumerate(names, 1)],
            "annotations": [
                {"path": str(path), "category_id": 1 + names.index(path.parent.name)}
                for path in paths
            ],
        },
        register,
        answer,
        (
            *("INPUT.DATASET_MAPPER", "VideoClipMapper", "INPUT.CLASSIFICATION.NUM_FRAMES_TEST", 1),
            *("INPUT.CLASSIFICATION.NUM_CROPS", 1, "INPUT.CLASSIFICATION.CROP_SIZE_TEST", 0),
        ),
        (("classification", "top1"), ("classification", "mean_class_accuracy")),
    )


def tracks(pictures: Path, folder: Path) -> Format:
    root = pictures / "shapes_mot/val"

    def answer(given, record, numbers):
        frames = [instances(record, frame, numbers) for frame in record["annotations"]]
        for found, frame in zip(frames, record["annotations"], strict=True):
            found.track_ids = torch.tensor([a["id"] for a in frame])
        return {"image_size": (record["height"], record["width"]), "frames": frames}

    content = json.loads((INPUTS / "tracks/two_classes.json").read_text())
    for each in content["annotations"]:
        each["track_id"] += 100 * each["category_id"]  # there one track has both classes
    return Format(
        content,
        lambda name, content: register_coco_tracks(name, written(folder, name, content), str(root)),
        answer,
        ("INPUT.DATASET_MAPPER", "FramePairMapper"),
        (("mot", "HOTA"), ("mot", "MOTA"), ("mot", "IDF1")),
    )


FORMATS = {
    "coco": coco,
    "panoptic": panoptic,
    "ytvis": ytvis,
    "tracks": tracks,
    "classification": classification,
}


class Oracle(nn.Module):
    """Answers a test set perfectly, in the classes of ``names``; to what is of none it answers class 0."""

    def __init__(self, test: str, given: Format, names: list[str]) -> None:
        super().__init__()
        self.test, self.given, self.names, self.calls = test, given, names, 0

    def forward(self, batch: list[dict]) -> list[dict]:
        self.calls += 1
        (item,) = batch
        key = next(k for k in ("image_id", "sequence", "video_id") if k in item)
        (record,) = (r for r in DatasetCatalog.get(self.test) if r[key] == item[key])
        ours, theirs = self.names, MetadataCatalog.get(self.test).thing_classes
        numbers = [ours.index(name) if name in ours else 0 for name in theirs]
        return [self.given.answer(item, record, numbers)]


@pytest.fixture(params=FORMATS)
def given(request, pictures, tmp_path, scratch_catalog) -> Format:
    return FORMATS[request.param](pictures, tmp_path)


@pytest.fixture
def told(monkeypatch):
    """What readers and the matching of classes tell by the log, however often."""
    said: list[str] = []
    monkeypatch.setattr(faults, "log_first_n", lambda level, text, **_: said.append(text))
    return said


def evaluated(given: Format, content: dict, tmp_path: Path, *options: Any, is_named: bool = True):
    """Results of a perfect model of the format's classes on a file, or the error; and the model."""
    given.register("train", given.content)
    given.register("test", content)
    cfg = get_cfg()
    cfg.merge_from_list(
        [
            *("DATASETS.TRAIN", ("train",), "DATASETS.TEST", ("test",), "MODEL.DEVICE", "cpu"),
            *("DATALOADER.NUM_WORKERS", 0, "INPUT.MIN_SIZE_TEST", 0),
            *("OUTPUT_DIR", str(tmp_path / "out"), *given.options, *options),
        ]
    )
    DatasetCatalog.get("train")  # sets the names
    model = Oracle("test", given, list(MetadataCatalog.get("train").thing_classes))
    model.class_names = model.names if is_named else None
    try:
        return VideoTrainer.test(cfg, model), model
    except UserError as error:
        return error, model


def is_perfect(given: Format, results: dict) -> bool:
    return all(results[task][name] == pytest.approx(100) for task, name in given.best)


def renumbered(content: dict, number: Callable[[int], int]) -> dict:
    """The file with other category ids."""
    changed = deepcopy(content)
    for each in changed["categories"]:
        each["id"] = number(each["id"])
    for label in labels_of(changed):
        label["category_id"] = number(label["category_id"])
    return changed


def labels_of(content: dict) -> list[dict]:
    entries = content["annotations"]
    return (
        [s for e in entries for s in e["segments_info"]]
        if "segments_info" in entries[0]
        else entries
    )


def without(content: dict, name: str) -> dict:
    """The file without a class and its labels."""
    changed = deepcopy(content)
    (number,) = (c["id"] for c in changed["categories"] if c["name"] == name)
    changed["categories"] = [c for c in changed["categories"] if c["id"] != number]
    for entry in changed["annotations"]:
        if "segments_info" in entry:
            entry["segments_info"] = [
                s for s in entry["segments_info"] if s["category_id"] != number
            ]
    if "segments_info" not in changed["annotations"][0]:
        changed["annotations"] = [a for a in changed["annotations"] if a["category_id"] != number]
    return changed


def renamed(content: dict, before: str, after: str) -> dict:
    changed = deepcopy(content)
    for each in changed["categories"]:
        each["name"] = after if each["name"] == before else each["name"]
    return changed


def first_used(content: dict) -> str:
    """The first class that has labels."""
    used = {label["category_id"] for label in labels_of(content)}
    return next(c["name"] for c in content["categories"] if c["id"] in used)


def test_same_classes(given, tmp_path, told):
    results, _ = evaluated(given, given.content, tmp_path)
    assert is_perfect(given, results)
    assert not told


def test_other_order(given, tmp_path, told):
    results, _ = evaluated(given, renumbered(given.content, lambda i: 100 - i), tmp_path)
    assert MetadataCatalog.get("test").thing_classes != MetadataCatalog.get("train").thing_classes
    assert is_perfect(given, results)
    assert not told


def test_an_imperfect_model_scores_the_same_in_any_order(given, tmp_path):
    """Some classes are mistaken for the next one, others are right."""
    answer = given.answer

    def mistaken(item, record, numbers):
        is_odd = sum(map(ord, str(item.get("image_id", item.get("video_id"))))) % 2
        return answer(item, record, [(n + is_odd) % 2 if n < 2 else n for n in numbers])

    given.answer = mistaken
    first, _ = evaluated(given, given.content, tmp_path)
    assert not is_perfect(given, first)
    for name in ("train", "test"):
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)
    second, _ = evaluated(given, renumbered(given.content, lambda i: 100 - i), tmp_path)
    assert first.keys() == second.keys()
    for task, values in first.items():
        assert second[task] == pytest.approx(values, nan_ok=True)


def test_names_of_the_training_set_stand_for_those_of_the_model(given, tmp_path):
    """As with a checkpoint that has none."""
    content = renumbered(given.content, lambda i: 100 - i)
    results, _ = evaluated(given, content, tmp_path, is_named=False)
    assert is_perfect(given, results)


def test_parent_class_without_labels(given, tmp_path, told):
    content = deepcopy(given.content)
    content["categories"].insert(0, {"id": 0, "name": "anything", "isthing": 1})
    results, _ = evaluated(given, content, tmp_path)
    assert is_perfect(given, results)
    (text,) = told
    assert "without annotations (anything)" in text


def test_some_of_the_classes(given, tmp_path, told):
    results, _ = evaluated(given, without(given.content, first_used(given.content)), tmp_path)
    assert is_perfect(given, results)
    assert not told


def test_class_that_the_model_lacks_is_refused_before_anything_runs(given, tmp_path):
    content = renamed(given.content, first_used(given.content), "star")
    error, model = evaluated(given, content, tmp_path)
    assert isinstance(error, UserError)
    assert "dataset test has annotations of 'star'" in str(error)
    assert "TEST.COMMON_CLASSES_ONLY" in str(error)
    assert model.calls == 0


def test_common_classes_only(given, tmp_path, told):
    content = renamed(given.content, first_used(given.content), "star")
    content = renumbered(content, lambda i: 100 - i)
    results, _ = evaluated(given, content, tmp_path, "TEST.COMMON_CLASSES_ONLY", True)
    assert is_perfect(given, results)
    assert not any("star" in key for values in results.values() for key in values)
    (text,) = told
    assert "1 that the model lacks (star)" in text


def test_further_classes_of_the_model_compete(pictures, tmp_path, scratch_catalog):
    """Of a classifying model whose best class the data set lacks the answer is wrong."""
    given = classification(pictures, tmp_path)
    answer = given.answer

    def second_best(item, record, numbers):
        scores = answer(item, record, numbers)["scores"] * 0.5
        scores[0] = 1.0  # "left"
        return {"scores": scores}

    given.answer = second_best
    results, _ = evaluated(given, without(given.content, "left"), tmp_path)
    assert results["classification"]["top1"] == 0


@pytest.mark.parametrize("is_only", [False, True])
def test_start_of_training(pictures, tmp_path, scratch_catalog, is_only, told):
    given = coco(pictures, tmp_path)
    given.register("train", given.content)
    given.register("test", renamed(given.content, first_used(given.content), "star"))
    cfg = tiny_cfg(
        *("DATASETS.TRAIN", ("train",), "DATASETS.TEST", ("test",), "OUTPUT_DIR", str(tmp_path)),
        *(
            "DATALOADER.NUM_WORKERS",
            0,
            "SOLVER.IMS_PER_BATCH",
            2,
            "TEST.COMMON_CLASSES_ONLY",
            is_only,
        ),
    )
    trainer = VideoTrainer(cfg)
    if is_only:
        trainer.resume_or_load(resume=False)
        assert any("1 that the model lacks (star)" in text for text in told)
        return
    with pytest.raises(UserError, match="dataset test has annotations of 'star'"):
        trainer.resume_or_load(resume=False)


def registered_cfg(given: Format, tmp_path: Path, *options: Any, **contents: dict):
    """A tiny DETR, with sets of these contents registered."""
    for name, content in contents.items():
        given.register(name, content)
    output = str(tmp_path / "out")
    return tiny_cfg(
        *("DATALOADER.NUM_WORKERS", 0, "SOLVER.IMS_PER_BATCH", 2, "OUTPUT_DIR", output),
        *("DATASETS.TEST", (), *options),
    )


def verdicts(cfg) -> tuple[list[str], list[str]]:
    """What check says of the classes, and what training does, before its first step."""
    found = check_classes(cfg)
    assert not any(isinstance(each, faults.Doubt) for each in found)
    checked = [str(each) for each in found if isinstance(each, faults.Fault)]
    try:
        VideoTrainer(cfg).resume_or_load(resume=False)
    except UserError as error:
        return checked, [str(error)]
    return checked, []


def test_check_gives_the_verdict_of_training_on_test_sets(pictures, tmp_path, scratch_catalog):
    given = coco(pictures, tmp_path)
    star = renamed(given.content, first_used(given.content), "star")
    cfg = registered_cfg(
        *(given, tmp_path, "DATASETS.TRAIN", ("train",), "DATASETS.TEST", ("test",)),
        **{"train": given.content, "test": star},
    )
    checked, trained = verdicts(cfg)
    assert "dataset test has annotations of 'star'" in checked[0]
    assert checked == trained
    cfg.TEST.COMMON_CLASSES_ONLY = True
    (left_out,) = check_classes(cfg)
    assert isinstance(left_out, faults.LeftOut)
    assert verdicts(cfg) == ([], [])


def test_check_gives_the_verdict_of_training_on_several_sets(pictures, tmp_path, scratch_catalog):
    given = coco(pictures, tmp_path)
    used = {label["category_id"] for label in labels_of(given.content)}
    first, second = [c["name"] for c in given.content["categories"] if c["id"] in used][:2]
    contents = {"a": renamed(given.content, first, "x"), "b": renamed(given.content, second, "y")}
    cfg = registered_cfg(given, tmp_path, "DATASETS.TRAIN", ("a", "b"), **contents)
    checked, trained = verdicts(cfg)
    assert "of several DATASETS.TRAIN one must have the classes of all" in checked[0]
    assert checked == trained


def test_check_gives_the_verdict_of_training_on_a_model_of_few_classes(
    pictures, tmp_path, scratch_catalog
):
    given = coco(pictures, tmp_path)
    number = len(given.content["categories"])
    options = ("DATASETS.TRAIN", ("train",), "MODEL.DETR.NUM_CLASSES", number - 1)
    cfg = registered_cfg(given, tmp_path, *options, train=given.content)
    checked, trained = verdicts(cfg)
    assert f"dataset train has {number} classes: set MODEL.DETR.NUM_CLASSES to" in checked[0]
    assert checked == trained
    cfg.MODEL.DETR.NUM_CLASSES = number
    assert verdicts(cfg) == ([], [])


def test_check_gives_the_verdict_of_training_on_a_checkpoint(pictures, tmp_path, scratch_catalog):
    """Its classes are the model's, not those of DATASETS.TRAIN, unless its class head starts anew."""
    given = coco(pictures, tmp_path)
    name = first_used(given.content)
    some = without(given.content, name)
    cfg = registered_cfg(
        *(given, tmp_path, "DATASETS.TRAIN", ("some",), "DATASETS.TEST", ("all",)),
        **{"some": some, "all": given.content},
    )
    cfg.DATASETS.TEST, cfg.DATASETS.TRAIN = (), ("all",)
    trainer = VideoTrainer(cfg)
    trainer.checkpointer.save_dir = str(tmp_path)
    trainer.checkpointer.checkpointables.clear()
    trainer.checkpointer.save("all")
    cfg.DATASETS.TEST, cfg.DATASETS.TRAIN = ("all",), ("some",)
    checked, trained = verdicts(cfg)
    assert f"dataset all has annotations of '{name}'" in checked[0]
    assert checked == trained
    cfg.MODEL.WEIGHTS = str(tmp_path / "all.pth")
    assert verdicts(cfg) == ([], [])
    given.register("star", renamed(given.content, name, "star"))
    cfg.DATASETS.TEST, cfg.DATASETS.TRAIN = (), ("star",)
    checked, trained = verdicts(cfg)
    assert "has annotations of 'star', which checkpoint" in checked[0]
    assert checked == trained
    cfg.MODEL.WEIGHTS_IGNORE = ("network.class_embed.",)
    assert verdicts(cfg) == ([], [])
    cfg.MODEL.WEIGHTS = str(tmp_path / "missing.pth")
    assert check_classes(cfg) == []


def test_a_class_that_is_stuff_in_training_and_a_thing_in_a_test_set(
    pictures, tmp_path, scratch_catalog
):
    given = panoptic(pictures, tmp_path)
    changed = deepcopy(given.content)
    grass = next(c for c in changed["categories"] if c["name"] == "grass")
    grass["isthing"] = 1 - grass["isthing"]
    error, model = evaluated(given, changed, tmp_path)
    told = "class 'grass' is a thing in dataset test and stuff in dataset train"
    assert told in str(error)
    assert model.calls == 0
    cfg = get_cfg()
    cfg.merge_from_list(["DATASETS.TRAIN", ("train",), "DATASETS.TEST", ("test",)])
    for read in (False, True):  # names that are known before any file is read, and after
        found: list[faults.Finding] = []
        match_test_sets(cfg, model, found.append)
        assert [told in str(each) for each in found] == [True]
        if not read:
            DatasetCatalog.get("test")


def test_training_set_that_cannot_be_read_leaves_the_numbers(
    pictures, tmp_path, scratch_catalog, caplog
):
    """It is needed for its names only."""
    given = coco(pictures, tmp_path)
    given.register("train", {})
    given.register("test", given.content)
    cfg = get_cfg()
    cfg.merge_from_list(["DATASETS.TRAIN", ("train",), "DATASETS.TEST", ("test",)])
    assert match_test_sets(cfg, nn.Module()) == [None]
    assert "they go by number" in caplog.text


def test_masks_of_another_form_end_in_one_line(pictures, tmp_path, scratch_catalog):
    """Though answers are mapped first."""
    for make, key, value in (
        (panoptic, "panoptic_seg", None),
        (panoptic, "panoptic_seg", (torch.zeros(2, 2), None)),
        (ytvis, "pred_masks", None),
        (ytvis, "pred_masks", "masks"),
    ):
        given = make(pictures, tmp_path)
        answer = given.answer
        given.answer = lambda *args, a=answer, k=key, v=value: {**a(*args), k: v}
        content = without(given.content, first_used(given.content))
        error, _ = evaluated(given, content, tmp_path)
        assert isinstance(error, UserError), error
        assert key in str(error)
        for name in ("train", "test"):
            DatasetCatalog.remove(name)
            MetadataCatalog.remove(name)


def test_class_without_a_name(pictures, tmp_path, scratch_catalog):
    given = coco(pictures, tmp_path)
    answer = given.answer
    given.answer = lambda item, record, numbers: answer(item, record, [n + 50 for n in numbers])
    error, _ = evaluated(given, renumbered(given.content, lambda i: 100 - i), tmp_path)
    assert isinstance(error, UserError)
    assert "the model predicts class 5" in str(error)


def test_case_of_the_issue(pictures, inputs, tmp_path, scratch_catalog):
    given = coco(pictures, tmp_path)
    content = json.loads((inputs / "classes/test_other_order.json").read_text())
    results, _ = evaluated(given, content, tmp_path)
    assert is_perfect(given, results)
