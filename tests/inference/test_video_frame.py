"""What an answered frame offers: pictures, plain values, COCO results, supervision, a short text."""

import gc
import io
import json
import pickle
import sys
import types
import weakref
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from d2video.inference import DrawingOptions, Predictor, VideoFrame
from d2video.inference.tasks import (
    ClassifiedFrame,
    InstanceFrame,
    NotOffered,
    RestoredFrame,
    Task,
    TrackingTask,
)
from d2video.utils.errors import UserError
from tests.helpers.stub_video_model import StubClassifier, StubRestorer, StubTracker, StubVideoModel

NAMES = ["person", "dog", ""]
GREY = np.full((40, 60, 3), 100, np.uint8)


def instances(*scores: float, masks: bool = True, tracks: bool = True) -> Instances:
    """Boxes beside each other, of the classes 0, 1, 0, 1, ..., each with its upper half as mask."""
    count = len(scores)
    left = torch.arange(count) * 15.0
    boxes = torch.stack([left, left * 0 + 10, left + 10, left * 0 + 30], 1)
    found = Instances((40, 60), pred_boxes=Boxes(boxes), scores=torch.tensor(scores))
    found.pred_classes = torch.arange(count) % 2
    if masks:
        found.pred_masks = torch.zeros(count, 40, 60, dtype=torch.bool)
        for row in range(count):
            found.pred_masks[row, 10:20, 15 * row : 15 * row + 10] = True
    if tracks:
        found.track_ids = torch.arange(count) + 7
    return found


def found_frame(*scores: float, **more) -> InstanceFrame:
    given = {"class_names": NAMES, "instances": instances(*scores)} | more
    return InstanceFrame(12, 0.4, GREY, **given)


def panoptic_frame() -> InstanceFrame:
    ids = torch.zeros(40, 60, dtype=torch.int32)
    ids[:10], ids[10:20] = 1, 2
    segments = [
        {"id": 1, "category_id": 2, "isthing": False},
        {"id": 2, "category_id": 1, "isthing": True},
    ]
    return found_frame(0.9, panoptic_seg=(ids, segments))


def classified_frame(**more) -> ClassifiedFrame:
    scores = torch.tensor([0.25, 0.625, 0.125])
    return ClassifiedFrame(0, 0.0, GREY, class_scores=scores, class_names=NAMES, **more)


def restored_frame() -> RestoredFrame:
    return RestoredFrame(0, 0.0, GREY, restored=np.full((80, 120, 3), 7, np.uint8))


FRAMES = {
    "instances": lambda: found_frame(0.9, 0.8),
    "panoptic": panoptic_frame,
    "classes": classified_frame,
    "restored": restored_frame,
}


@pytest.fixture(params=FRAMES)
def frame(request) -> VideoFrame:
    return FRAMES[request.param]()


# ---- pictures --------------------------------------------------------------------------------------


def test_the_picture_is_the_tasks(frame):
    drawn = frame.plot()
    assert (drawn.dtype, drawn.ndim, drawn.shape[2]) == (np.uint8, 3, 3)
    expected = frame.task.drawer(frame.class_names, DrawingOptions())(frame)
    np.testing.assert_array_equal(drawn, expected)
    assert (frame.image == 100).all()


def test_options_reach_the_picture():
    frame = found_frame(0.9, 0.3)
    np.testing.assert_array_equal(frame.plot(score_threshold=1.0), GREY)
    assert frame.plot(scale=2).shape == (80, 120, 3)
    with pytest.raises(
        UserError, match="unknown drawing option 'colour': choose score_threshold, "
    ):
        frame.plot(colour="red")
    np.testing.assert_array_equal(frame.plot(score_threshold=np.float32(1)), GREY)
    for option, value in [("scale", 1.5), ("scale", "2"), ("score_threshold", None)]:
        with pytest.raises(UserError, match=f"drawing option {option} is .*: it must be a "):
            frame.plot(**{option: value})


def test_saving(frame, tmp_path):
    path = tmp_path / "new" / "picture.png"
    frame.save(path)
    np.testing.assert_array_equal(np.asarray(Image.open(path)), frame.plot())
    frame.save(str(path), scale=2)  # over the first
    assert Image.open(path).size[0] == 2 * frame.plot().shape[1]
    assert [each.name for each in path.parent.iterdir()] == ["picture.png"]


def test_what_cannot_be_saved(tmp_path):
    frame = found_frame(0.9)
    for name in ("picture", "picture.mp4", "picture.txt"):
        with pytest.raises(UserError, match="must end in one of .bmp .jpeg"):
            frame.save(tmp_path / name)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file"):
        frame.save(tmp_path / "file" / "picture.png")
    with pytest.raises(UserError, match="unknown drawing option"):
        frame.save(tmp_path / "picture.png", colour="red")
    with pytest.raises(UserError, match="File name too long"):
        frame.save(tmp_path / f"{'x' * 300}.png")
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_notebooks_show_the_picture(frame):
    shown = Image.open(io.BytesIO(frame._repr_png_()))
    assert shown.format == "PNG"
    np.testing.assert_array_equal(np.asarray(shown), frame.plot())


# ---- text and plain values -------------------------------------------------------------------------


def test_repr():
    assert repr(found_frame(0.9, 0.8, 0.7, 0.2)) == "VideoFrame 12 at 0.40 s: 2 × person, 1 × dog"
    assert repr(found_frame(0.2)) == "VideoFrame 12 at 0.40 s: nothing"
    assert repr(found_frame(0.9, file_name="a.jpg")) == "VideoFrame a.jpg: 1 × person"
    assert repr(found_frame(0.9, class_names=None)) == "VideoFrame 12 at 0.40 s: 1 × class 0"
    assert repr(panoptic_frame()) == "VideoFrame 12 at 0.40 s: 1 × class 2, 1 × dog"
    assert repr(classified_frame()) == "VideoFrame 0 at 0.00 s: dog 62.5 %"
    assert repr(restored_frame()) == "VideoFrame 0 at 0.00 s: restored, 120x80"


def test_plain_values(frame):
    entries = frame.to_dict()
    assert json.loads(json.dumps(entries)) == entries
    assert entries["index"] == frame.index
    assert entries.get("time") == frame.time


def test_plain_values_have_names():
    first, second = found_frame(0.9, 0.8).to_dict()["instances"]
    assert (first["category_id"], first["category"], first["track_id"]) == (0, "person", 7)
    assert (second["category"], second["bbox"]) == ("dog", [15, 10, 10, 20])
    assert [each["category"] for each in panoptic_frame().to_dict()["segments"]] == [
        "class 2",
        "dog",
    ]
    classes = classified_frame().to_dict(topk=2)["classes"]
    assert classes == [
        {"category_id": 1, "score": 0.625, "category": "dog"},
        {"category_id": 0, "score": 0.25, "category": "person"},
    ]
    image = found_frame(0.9, file_name="a.jpg").to_dict()
    assert (image["file_name"], image["height"], image["width"]) == ("a.jpg", 40, 60)
    with pytest.raises(UserError, match="topk is 0"):
        classified_frame().to_dict(topk=0)


def test_best_classes():
    assert classified_frame().top(2) == [("dog", 0.625), ("person", 0.25)]
    assert [name for name, _ in classified_frame().top()] == ["dog", "person", "class 2"]
    with pytest.raises(UserError, match="topk is 0"):
        classified_frame().top(0)


# ---- COCO ------------------------------------------------------------------------------------------


def ground_truth(entries, category_ids: dict[str, int]) -> COCO:
    """A COCO data set whose labels are the entries."""
    coco = COCO()
    coco.dataset = {
        "images": [{"id": 5, "height": 40, "width": 60}],
        "categories": [{"id": index, "name": name} for name, index in category_ids.items()],
        "annotations": [
            {**each, "id": number, "iscrowd": 0, "area": 100}
            for number, each in enumerate(entries, 1)
        ],
    }
    coco.createIndex()
    return coco


def test_coco_results_go_through_pycocotools():
    frame = found_frame(0.9, 0.8, 0.7)
    categories = {"dog": 18, "person": 1, "cat": 17}
    truth = ground_truth([], categories)
    entries = json.loads(json.dumps(frame.to_coco(5, truth.dataset["categories"])))
    assert [each["category_id"] for each in entries] == [1, 18, 1]
    assert {each["image_id"] for each in entries} == {5}
    assert isinstance(entries[0]["segmentation"]["counts"], str)
    np.testing.assert_array_equal(
        coco_mask.decode(entries[1]["segmentation"]), frame.instances.pred_masks[1].numpy()
    )
    truth = ground_truth(entries, categories)
    for kind in ("bbox", "segm"):
        evaluation = COCOeval(truth, truth.loadRes(entries), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
        assert evaluation.stats[0] == pytest.approx(1.0)


def test_coco_class_indices_and_image_numbers():
    entries = found_frame(0.9, 0.1).to_coco()
    assert [(each["image_id"], each["category_id"]) for each in entries] == [(12, 0), (12, 1)]
    assert found_frame().to_coco() == []
    only_dogs = found_frame(0.9, 0.1).to_coco(3, [{"id": 18, "name": "dog"}])
    assert [(each["image_id"], each["category_id"]) for each in only_dogs] == [(3, 18)]
    boxes = found_frame(instances=instances(0.5, masks=False, tracks=False)).to_coco()
    assert set(boxes[0]) == {"image_id", "category_id", "score", "bbox"}


def test_coco_ids_are_those_of_the_models_data_set():
    known = [{"id": 1, "name": "person"}, {"id": 18, "name": "dog"}]
    frame = replace(found_frame(0.9, 0.1), categories=known)
    assert [each["category_id"] for each in frame.to_coco()] == [1, 18]
    given = [{"id": 7, "name": "dog"}, {"id": 9, "name": "person"}]
    assert [each["category_id"] for each in frame.to_coco(0, given)] == [9, 7]


def test_coco_categories_that_do_not_fit():
    with pytest.raises(UserError, match=r"none of the model's classes \(person, .*\(cat, "):
        found_frame(0.9).to_coco(0, [{"id": 1, "name": "cat"}])
    with pytest.raises(UserError, match="have no names"):
        found_frame(0.9, class_names=None).to_coco(0, [{"id": 1, "name": "cat"}])


# ---- supervision -----------------------------------------------------------------------------------


@pytest.fixture(params=["stand-in", "supervision"])
def supervision(request, monkeypatch):
    """supervision, and a stand-in for machines without it."""
    if request.param == "supervision":
        return pytest.importorskip("supervision")

    @dataclass
    class Detections:
        xyxy: np.ndarray
        mask: np.ndarray | None = None
        confidence: np.ndarray | None = None
        class_id: np.ndarray | None = None
        tracker_id: np.ndarray | None = None
        data: dict | None = None

    module = types.ModuleType("supervision")
    module.Detections = Detections
    monkeypatch.setitem(sys.modules, "supervision", module)
    return module


def test_supervision(supervision):
    frame = found_frame(0.9, 0.25)
    found = frame.to_supervision()
    assert isinstance(found, supervision.Detections)
    np.testing.assert_array_equal(found.xyxy, frame.instances.pred_boxes.tensor)
    np.testing.assert_array_equal(found.mask, frame.instances.pred_masks)
    assert found.mask.dtype == bool
    np.testing.assert_array_equal(found.confidence, np.float32([0.9, 0.25]))
    assert (found.class_id.tolist(), found.tracker_id.tolist()) == ([0, 1], [7, 8])
    assert found.data["class_name"].tolist() == ["person", "dog"]


def test_supervision_of_what_is_there(supervision):
    found = found_frame(instances=instances(0.9, masks=False, tracks=False)).to_supervision()
    assert found.mask is None
    assert found.tracker_id is None
    masks_only = Instances((40, 60), pred_masks=instances(0.9).pred_masks)
    np.testing.assert_array_equal(
        found_frame(instances=masks_only).to_supervision().xyxy, [[0, 10, 10, 20]]
    )
    none = found_frame(instances=instances()).to_supervision()
    assert none.xyxy.shape == (0, 4)
    assert none.data["class_name"].tolist() == []


def test_without_supervision(monkeypatch):
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(UserError, match="pip install supervision"):
        found_frame(0.9).to_supervision()


# ---- tasks -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("instances", classified_frame, "its model classifies videos; load one that finds or"),
        ("panoptic_seg", classified_frame, "no panoptic_seg"),
        ("restored", classified_frame, "load one that restores images"),
        ("class_scores", restored_frame, "its model restores images; load one that classifies"),
        ("to_coco", restored_frame, "no to_coco"),
        ("to_supervision", restored_frame, "no to_supervision"),
        ("top", lambda: found_frame(0.9), "its model finds objects; load one that classifies"),
    ],
)
def test_what_other_tasks_answer_is_one_line(name, make, message):
    frame = make()
    with pytest.raises(NotOffered, match=message) as caught:  # noqa: PT012
        found = getattr(frame, name)
        found()
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, UserError)


def test_other_attributes_are_missing_as_usual():
    frame = classified_frame()
    assert not hasattr(frame, "instances")
    with pytest.raises(AttributeError, match="ClassifiedFrame has no attribute instance"):
        _ = frame.instance


def test_frames_can_be_sent_to_other_processes(frame):
    copy = pickle.loads(pickle.dumps(frame))
    assert repr(copy) == repr(frame)
    np.testing.assert_array_equal(copy.plot(), frame.plot())


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        (StubVideoModel, InstanceFrame),
        (StubTracker, InstanceFrame),
        (StubClassifier, ClassifiedFrame),
        (StubRestorer, RestoredFrame),
    ],
)
def test_a_predictors_frames_know_names_and_task(model, kind):
    names = ["square", "b", "c", "d"]
    predictor = Predictor(model=model(), min_size=0, max_size=0, class_names=names)
    image = np.full((9, 9, 3), 255, np.uint8)
    for frame in predictor([image]):
        assert type(frame) is kind
        assert (frame.task, frame.class_names) == (predictor.task, names)


def test_a_frame_keeps_no_others():
    alive: set[int] = set()

    def source():
        for index in range(30):
            image = np.full((9, 9, 3), 255, np.uint8)
            alive.add(index)
            weakref.finalize(image, alive.discard, index)
            yield image

    last = None
    for frame in Predictor(model=StubTracker(), min_size=0, max_size=0)(source()):
        last = frame
        frame.plot()
    del frame
    gc.collect()
    assert alive == {last.index} == {29}


def test_a_drawer_draws_trails():
    predictor = Predictor(model=StubTracker(), min_size=0, max_size=0)
    images = np.zeros((8, 40, 60, 3), np.uint8)
    for step, image in enumerate(images):
        image[20:28, 5 * step : 5 * step + 8] = 255
    draw = predictor.drawer()
    last = [(frame, draw(frame)) for frame in predictor(images)][-1]
    assert (last[0].plot() != last[1]).any()
    np.testing.assert_array_equal(last[0].plot(), predictor.drawer(trail_length=0)(last[0]))
    with pytest.raises(UserError, match="unknown drawing option"):
        predictor.drawer(colour="red")


def test_a_task_of_a_project_draws_and_writes_its_frames():
    @dataclass(frozen=True, eq=False, kw_only=True, repr=False)
    class Counted(VideoFrame):
        bright: int

    class Counting(Task):
        def read(self, frame, answer):
            return Counted(**vars(frame), task=self, bright=7)

        def drawer(self, class_names, options):
            return lambda frame: np.full((4, 4, 3), frame.bright, np.uint8)

        def record(self, frame, topk):
            return {"bright": frame.bright}

    model = StubVideoModel()
    model.task = Counting()
    (frame,) = Predictor(model=model, min_size=0, max_size=0)([GREY])
    assert (frame.plot() == 7).all()
    assert frame.to_dict() == {"index": 0, "time": 0, "bright": 7}
    assert repr(frame) == "VideoFrame 0 at 0.00 s"
    assert TrackingTask().does == "follows objects"
    with pytest.raises(NotOffered, match="its model has another task"):
        _ = frame.instances
