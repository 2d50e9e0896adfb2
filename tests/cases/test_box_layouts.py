"""Boxes that were written in another layout are doubted by every reader, those of sound sets by none."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from d2video.cli.check import main as check
from d2video.data.datasets.coco import load_coco_instances
from d2video.data.datasets.coco_tracks import load_coco_tracks
from d2video.data.datasets.crowdhuman import load_crowdhuman
from d2video.data.datasets.mot import load_mot
from d2video.data.datasets.mot_split import read_sequences
from d2video.data.datasets.ytvis import load_ytvis_json
from d2video.formats.faults import Doubt
from d2video.formats.mot_rules import object_rule

HEIGHT, WIDTH = 64, 96


def _doubts(read, *arguments) -> list[str]:
    found = []
    read(*map(str, arguments), report=found.append)
    return [str(each) for each in found if isinstance(each, Doubt)]


def _load_mot(root, report):
    rule = object_rule("MOT17")
    load_mot(read_sequences(root), rule, "the set", report=report)


def _corners(box):
    x, y, width, height = box
    return [x, y, x + width, y + height]


def _centre(box):
    x, y, width, height = box
    return [x + width / 2, y + height / 2, width, height]


def _fractions(box):
    return [n / side for n, side in zip(box, (WIDTH, HEIGHT, WIDTH, HEIGHT), strict=True)]


CONVERSIONS = {
    "corners x0, y0, x1, y1,": _corners,
    "centre and size cx, cy, width, height,": _centre,
    "x, y, width, height as fractions of the image": _fractions,
}


@pytest.mark.parametrize("kind", ["coco", "ytvis"])
def test_check_tells_the_layout_that_fits(kind, inputs, pictures, capsys):
    root = pictures / ("shapes/val/JPEGImages" if kind == "ytvis" else "shapes_coco/val")
    path = str(inputs / f"boxes/{kind}_xyxy.json")
    with pytest.raises(SystemExit) as end:
        check(["--json", path, "--image-root", str(root), "--num-workers", "0"])
    printed = capsys.readouterr().out
    assert end.value.code == 1
    assert printed.count("doubt: ") == 1
    assert "contradict their masks; read as corners x0, y0, x1, y1, " in printed


@pytest.mark.parametrize("name", CONVERSIONS)
@pytest.mark.parametrize("masks", [False, True])
def test_coco(name, masks, pictures, write_json):
    content = json.loads((pictures / "shapes_coco/annotations/instances_val.json").read_text())
    for each in content["annotations"]:
        each["bbox"] = CONVERSIONS[name](each["bbox"])
        if not masks:
            del each["segmentation"]
    (doubt,) = _doubts(load_coco_instances, write_json(content), "")
    assert f"read as {name}" in doubt


@pytest.mark.parametrize("name", CONVERSIONS)
def test_coco_tracks(name, pictures, write_json):
    content = json.loads((pictures / "shapes/val.json").read_text())
    tracks = {"categories": content["categories"], "images": [], "annotations": []}
    for video in content["videos"]:
        for t, file_name in enumerate(video["file_names"]):
            image = {"id": len(tracks["images"]), "file_name": file_name, "frame_id": t}
            tracks["images"].append(image | {"video_id": video["id"], "height": 64, "width": 96})
            for each in content["annotations"]:
                if each["video_id"] == video["id"] and each["bboxes"][t]:
                    fields = {key: each[key] for key in ("category_id", "iscrowd")}
                    fields |= {"track_id": each["id"], "image_id": image["id"]}
                    fields |= {"id": len(tracks["annotations"]), "bbox": each["bboxes"][t]}
                    fields["segmentation"] = each["segmentations"][t]
                    tracks["annotations"].append(fields)
    assert not _doubts(load_coco_tracks, write_json(tracks), "")
    for each in tracks["annotations"]:
        each["bbox"] = CONVERSIONS[name](each["bbox"])
    (doubt,) = _doubts(load_coco_tracks, write_json(tracks), "")
    assert f"read as {name}" in doubt


def test_boxes_of_tracking_data_may_leave_the_image(pictures, write_json):
    content = json.loads((pictures / "shapes_coco/annotations/instances_val.json").read_text())
    for image in content["images"]:
        image |= {"frame_id": image["id"], "video_id": 1}
    for k, each in enumerate(content["annotations"]):
        each |= {"bbox": [70, 20, 40 + k, 30], "track_id": each["id"]}
        del each["segmentation"]
    path = write_json(content)
    assert len(_doubts(load_coco_instances, path, "")) == 1
    assert not _doubts(load_coco_tracks, path, "")


@pytest.mark.parametrize("name", [*CONVERSIONS][::2])
def test_mot(name, pictures, tmp_path):
    shutil.copytree(pictures / "shapes_mot/val", tmp_path / "val")
    assert not _doubts(_load_mot, tmp_path / "val")
    for path in (tmp_path / "val").glob("*/gt/gt.txt"):
        rows = [line.split(",") for line in path.read_text().splitlines()]
        for row in rows:
            row[2:6] = map(str, CONVERSIONS[name](map(float, row[2:6])))
        path.write_text("".join(",".join(row) + "\n" for row in rows))
    (doubt,) = _doubts(_load_mot, tmp_path / "val")
    assert f"read as {name}" in doubt


@pytest.mark.parametrize("name", [*CONVERSIONS][::2])
def test_crowdhuman(name, tmp_path):
    rng = np.random.default_rng(0)
    lines = {"sound": [], name: []}
    for image in range(6):
        Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / f"{image}.jpg")
        low, size = rng.uniform(-5, [80, 50], (9, 2)), rng.uniform(5, 30, (9, 2))
        boxes = np.concatenate([low, size], axis=1).tolist()
        for kind, convert in (("sound", list), (name, CONVERSIONS[name])):
            people = [{"tag": "person", "fbox": convert(box)} for box in boxes]
            lines[kind].append(json.dumps({"ID": str(image), "gtboxes": people}))
    for kind, texts in lines.items():
        (tmp_path / "a.odgt").write_text("\n".join(texts))
        found = _doubts(load_crowdhuman, tmp_path / "a.odgt", tmp_path)
        assert len(found) == (kind != "sound")
    assert f"read as {name}" in found[0]


def test_sound_sets_are_not_doubted(pictures):
    for split in ("train", "val"):
        assert not _doubts(load_ytvis_json, pictures / f"shapes/{split}.json", "")
        path = pictures / f"shapes_coco/annotations/instances_{split}.json"
        assert not _doubts(load_coco_instances, path, "")
        assert not _doubts(_load_mot, pictures / "shapes_mot" / split)
