"""What has nothing to be found trains: no objects, crowds alone, objects that are nowhere to be seen."""

import json

import numpy as np
import pytest
import torch
from detectron2.modeling import build_model
from detectron2.structures import BoxMode
from detectron2.utils.events import EventStorage
from PIL import Image

from d2video.data import build_mapper, load_ytvis_json
from d2video.data.clip_dataset import ClipDataset
from tests.helpers.ytvis_content import HEIGHT, LENGTH, WIDTH, content, polygon
from tests.projects.DETR.tiny import tiny_cfg as detr_cfg
from tests.projects.TrackFormer.tiny import tiny_cfg as trackformer_cfg
from tests.projects.VisTR.tiny import tiny_cfg as vistr_cfg

EMPTY = ["no objects", "crowds", "never seen"]


@pytest.fixture
def image(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "0.png")
    return tmp_path / "0.png"


def video_record(image, kind):
    """Video 7 of one picture, with no labels but those of this kind; another has a track."""
    given = content()
    given["videos"][0]["file_names"] = [image.name] * LENGTH
    other = {**given["annotations"][0], "id": 99, "video_id": 3}
    tracks = {"no objects": [], "crowds": given["annotations"][2:], "never seen": []}[kind]
    if kind == "never seen":
        tracks = given["annotations"][:1]
        tracks[0] |= {"bboxes": [None] * LENGTH, "segmentations": [None] * LENGTH}
    given["annotations"] = [*tracks, other]
    path = image.with_suffix(".json")
    path.write_text(json.dumps(given))
    return load_ytvis_json(str(path), str(image.parent))[0]


def image_record(image, kind):
    box = [0, 0, 0, 0] if kind == "never seen" else [4, 4, 10, 10]
    label = {
        "category_id": 1,
        "bbox": box,
        "bbox_mode": BoxMode.XYWH_ABS,
        "iscrowd": int(kind == "crowds"),
        "segmentation": polygon(*box),
    }
    labels = [] if kind == "no objects" else [label]
    size = {"height": HEIGHT, "width": WIDTH}
    return {"file_name": str(image), "image_id": 1, "annotations": labels, **size}


def check_training(cfg, record, with_full=None):
    """Losses and gradients of a batch of this record twice, or beside another, are finite."""
    mapper = build_mapper(cfg, is_train=True)
    torch.manual_seed(0)
    model = build_model(cfg).train()
    dataset = ClipDataset([record], cfg.INPUT.EPOCH_UNIT)
    batch = [mapper(dataset[0]), mapper(dataset[0])]
    assert not any(_numbers(sample) for sample in batch)
    if with_full is not None:
        batch[1] = mapper(ClipDataset([with_full], cfg.INPUT.EPOCH_UNIT)[0])
        assert _numbers(batch[1])
    with EventStorage():
        losses = model(batch)
    sum(losses.values()).backward()
    assert all(torch.isfinite(loss) for loss in losses.values())
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert gradients
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


def _numbers(sample):
    """Objects in a sample."""
    frames = [sample, *sample.get("previous", ())]
    instances = [frame["instances"] for frame in frames]
    return sum(len(i) for each in instances for i in (each if isinstance(each, list) else [each]))


@pytest.mark.parametrize("kind", EMPTY)
@pytest.mark.parametrize("mixed", [False, True])
def test_vistr(image, kind, mixed):
    cfg = vistr_cfg("MODEL.RESNETS.NORM", "FrozenBN", "INPUT.AUGMENTATIONS", [])
    full = None
    if mixed:
        other = content()
        other["videos"] = other["videos"][:1]
        other["videos"][0]["file_names"] = [image.name] * LENGTH
        (image.parent / "full.json").write_text(json.dumps(other))
        (full,) = load_ytvis_json(str(image.parent / "full.json"), str(image.parent))
    check_training(cfg, video_record(image, kind), full)


@pytest.mark.parametrize("kind", EMPTY)
def test_detr(image, kind):
    cfg = detr_cfg("INPUT.AUGMENTATIONS", [])
    check_training(cfg, image_record(image, kind))


@pytest.mark.parametrize("kind", EMPTY)
@pytest.mark.parametrize("variant", ["detr", "multi_frame", "two_stage", "deformable_masks"])
def test_trackformer(image, kind, variant):
    cfg = trackformer_cfg(variant, "INPUT.AUGMENTATIONS", [])
    check_training(cfg, video_record(image, kind))
    check_training(cfg, image_record(image, kind))
