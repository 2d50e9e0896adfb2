"""Records written in standard formats, and read back by the readers of these formats."""

import json

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from d2video.data.datasets.coco import load_coco_instances
from d2video.data.datasets.coco_tracks import load_coco_tracks
from d2video.data.datasets.label_sets import records_of
from d2video.data.datasets.mot import load_mot
from d2video.data.datasets.mot_split import read_sequences
from d2video.data.datasets.ytvis import load_ytvis_json
from d2video.data.export import coco_content, write_mot, write_mots, youtube_vis_content
from d2video.data.export.objects import json_rle
from d2video.formats.faults import Doubt, LeftOut
from d2video.formats.labels.label_set import LabelSet
from d2video.formats.mot_rules import object_rule
from d2video.utils.errors import UserError
from tests.helpers.coco_sets import instance_content
from tests.helpers.true_labels import (
    CLASSES,
    HEIGHT,
    WIDTH,
    true_videos,
    write_images,
    write_video,
)
from tests.helpers.true_sets import read_true

NUMBERS = dict(enumerate(CLASSES, 1))


def records(folder, *, as_video=False, **options):
    """The true labels as records, as the readers of tools' formats give them; see :func:`read_true`."""
    for true in true_videos():
        if as_video:
            write_video(true, folder / f"{true.name}.mp4")
        else:
            write_images(true, folder / true.name)
    options = {"first": 1, **options}
    labels = read_true(str(folder), lambda finding: None, as_video=as_video, **options)
    return records_of(labels, labels.videos)


def comparable(record, *, masks=True, visibility=True, ignored=True, tracks=True):
    """What a format holds of a record, in a form that can be compared."""
    found = {"size": (record["height"], record["width"]), "length": record["length"]}
    for key in ("annotations", *(["ignored"] if ignored else [])):
        found[key] = [
            sorted(
                (
                    each["id"] if tracks and key == "annotations" else 0,
                    each["category_id"],
                    tuple(np.round(each["bbox"], 9)),
                    each.get("visibility", 1) if visibility else 1,
                    json_rle(each["segmentation"])["counts"] if masks else None,
                )
                for each in frame
            )
            for frame in record.get(key, [[]] * record["length"])
        ]
    return found


def write_json(content, path):
    path.write_text(json.dumps(content))  # of values that JSON has
    return str(path)


@pytest.mark.parametrize("masks", [True, False])
def test_coco_with_tracks_gives_the_same_records(tmp_path, masks):
    source = records(tmp_path / "frames", masks=masks, first=10)
    content = coco_content(source, CLASSES, image_root=str(tmp_path), report=pytest.fail)
    path = write_json(content, tmp_path / "tracks.json")
    read = load_coco_tracks(path, str(tmp_path))
    assert [each["sequence"] for each in read] == ["clip_b", "clip_a"]
    assert [each["file_names"] for each in read] == [each["file_names"] for each in source]
    for one, other in zip(read, source, strict=True):
        assert comparable(one, masks=masks) == comparable(other, masks=masks)
    assert any(map(bool, read[1]["ignored"]))
    assert content["images"][0]["frame_number"] == 10


def test_youtube_vis_gives_the_same_tracks(tmp_path):
    source = records(tmp_path / "frames")
    content = youtube_vis_content(source, CLASSES, image_root=str(tmp_path), report=pytest.fail)
    path = write_json(content, tmp_path / "train.json")
    read = load_ytvis_json(path, str(tmp_path))
    # Its ids are of the whole file; those of the videos are in a key of their own.
    own_id = {each["id"]: each["track_id"] for each in content["annotations"]}
    assert sorted(own_id) == [*range(1, 6)]
    for one, other in zip(read, source, strict=True):
        assert one["file_names"] == other["file_names"]
        frames = [*one["annotations"]]
        one["annotations"] = [
            [{**a, "id": own_id[a["id"]]} for a in frame if not a["iscrowd"]] for frame in frames
        ]
        one["ignored"] = [[a for a in frame if a["iscrowd"]] for frame in frames]
        assert comparable(one) == comparable(other, visibility=False)
    hidden = next(each for each in content["annotations"] if "visibility" in each)
    assert {0.25, 1.0, None} >= {*hidden["visibility"]} > {0.25}
    assert content["videos"][0]["name"] == "clip_b"


def test_regions_to_ignore_of_a_frame_are_one_crowd_of_youtube_vis():
    def region(x):
        mask = np.zeros((HEIGHT, WIDTH), bool)
        mask[2:6, x : x + 4] = True
        return mask

    labels = LabelSet("truth", pytest.fail, classes=CLASSES)
    video = labels.add_video("clip", ["0.jpg", "1.jpg"], (HEIGHT, WIDTH))
    video.add(0, "cat", track=1, segmentation=region(30))
    for frame, x in ((0, 5), (0, 20), (1, 6)):
        video.add(frame, "dog", segmentation=region(x), ignored=True)
    source = records_of(labels, labels.videos, {k: k for k in range(len(CLASSES))})
    (_, crowd) = youtube_vis_content(source, CLASSES, report=pytest.fail)["annotations"]
    assert (crowd["iscrowd"], crowd["areas"]) == (1, [32, 16])
    assert crowd["bboxes"] == [[5, 2, 19, 4], [6, 2, 4, 4]]


def test_youtube_vis_says_what_has_no_mask(tmp_path):
    told = []
    source = records(tmp_path, crowd=False)
    source[0]["annotations"]._columns["segmentation"][:3] = None
    content = youtube_vis_content(source, CLASSES, source="mine", report=told.append)
    assert [str(each) for each in told] == [
        "mine: 16 of 19 objects in frames are written; left out: 3 that have a box and no mask"
    ]
    assert not any(mask == [] for each in content["annotations"] for mask in each["segmentations"])
    with pytest.raises(UserError, match="youtube-vis holds masks only"):
        youtube_vis_content(records(tmp_path, masks=False), CLASSES)


@pytest.mark.parametrize(("benchmark", "write"), [("MOT17", write_mot), ("MOTS20", write_mots)])
def test_motchallenge_folders_give_the_same_tracks(tmp_path, benchmark, write):
    masks, told = write is write_mots, []
    source = records(tmp_path / "frames", first=5)
    write(source, CLASSES, tmp_path / "out", source="mine", report=told.append)
    rule = object_rule(benchmark, classes=NUMBERS)
    sequences = read_sequences(str(tmp_path / "out"))
    read = load_mot(sequences, rule, "out")
    for one, other in zip(read, sorted(source, key=lambda r: r["sequence"]), strict=True):
        assert one["sequence"] == other["sequence"]
        held = {"masks": masks, "visibility": not masks, "ignored": False}
        assert comparable(one, **held) == comparable(other, **held)
        for frame, name in zip(one["file_names"], other["file_names"], strict=True):
            with open(frame, "rb") as file, open(name, "rb") as same:
                assert file.read() == same.read()
    lost = ["visibilities below 1", "classes of regions to ignore"] if masks else ["masks"]
    assert [each.noun for each in told if isinstance(each, LeftOut)] == ["frame numbers", *lost]
    assert "of 2 videos the frame rate is unknown: 25 a second is written" in str(told[1])
    text = (tmp_path / "out/clip_a/gt/gt.txt").read_text()
    assert ("2 10000 10 48 64 " if masks else "2,2,3,41,28,6,0,1,1\n") in text
    with pytest.raises(UserError, match="exists; give a new or empty folder"):
        write(source, CLASSES, tmp_path / "out")


@pytest.mark.parametrize("write", [write_mot, write_mots])
def test_track_ids_that_text_files_do_not_hold_are_counted(tmp_path, write):
    given = records(tmp_path / "frames", crowd=False)
    far = {1: -1, 2: 0, 7: 2**62 + 1}
    given[0]["annotations"] = [
        [{**each, "id": far[each["id"]]} for each in frame] for frame in given[0]["annotations"]
    ]
    told = []
    write(given, CLASSES, tmp_path / "out", images=False, report=told.append)
    assert any(
        "1 of 4 track ids are written; left out: 3 of videos with one below 0" in str(each)
        for each in told
    )
    lines = (tmp_path / "out/clip_b/gt/gt.txt").read_text().replace(" ", ",").splitlines()
    found = {tuple(map(int, line.split(",")[:2])) for line in lines}
    new = {-1: 1, 0: 2, 2**62 + 1: 3}
    wanted = {(t, new[each["id"]]) for t, f in enumerate(given[0]["annotations"], 1) for each in f}
    assert found == wanted


def test_masks_that_overlap_are_cut_for_mots(tmp_path):
    labels = LabelSet("truth", pytest.fail, classes=CLASSES)
    video = labels.add_video("clip", ["0.jpg"], (HEIGHT, WIDTH))
    for track, (left, right) in enumerate([(0, 10), (6, 20), (30, 34), (29, 35)]):
        mask = np.zeros((HEIGHT, WIDTH), bool)
        mask[3:5, left:right] = True
        video.add(0, "cat", track=track, segmentation=mask)
    source, told = records_of(labels, labels.videos, {1: 1}), []
    write_mots(source, CLASSES, tmp_path / "o", images=False, source="mine", report=told.append)
    rows = [line.split() for line in (tmp_path / "o/clip/gt/gt.txt").read_text().splitlines()]
    codes = [{"size": [HEIGHT, WIDTH], "counts": row[5]} for row in rows]
    boxes = coco_mask.toBbox(codes).tolist()
    assert [(row[1], box[0], box[2]) for row, box in zip(rows, boxes, strict=True)] == [
        *(("0", 0, 6), ("1", 6, 14), ("3", 29, 6))
    ]
    assert [type(each) for each in told] == [Doubt, LeftOut, Doubt]
    assert "left out: 1 that later ones cover wholly" in str(told[1])
    assert "mine: 1 mask without the pixels" in str(told[2])


def test_the_number_of_regions_is_not_that_of_a_class(tmp_path):
    names = [f"class {k}" for k in "abcdefghijk"]
    labels = LabelSet("truth", pytest.fail, classes=names)
    video = labels.add_video("clip", ["0.jpg"], (HEIGHT, WIDTH))
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[1, 2] = True
    video.add(0, names[9], track=1, segmentation=mask)
    write_mots(records_of(labels, labels.videos), names, tmp_path / "out", images=False)
    assert (tmp_path / "out/clip/gt/gt.txt").read_text().split()[2] == "11"
    listed = (tmp_path / "out/clip/gt/labels.txt").read_text().split("\n")
    assert listed[8:12] == [names[8], "", names[9], names[10]]


def test_frames_of_a_video_file_become_images(tmp_path):
    source = records(tmp_path, as_video=True)[:1]
    write_mot(source, CLASSES, tmp_path / "out", report=lambda told: None)
    (read,) = load_mot(
        read_sequences(str(tmp_path / "out")), object_rule("MOT17", classes=NUMBERS), "out"
    )
    assert (read["length"], read["file_names"][0][-10:]) == (8, "000001.jpg")
    assert "frameRate=10\n" in (tmp_path / "out/clip_b/seqinfo.ini").read_text()


def test_coco_of_images_gives_the_same_records(tmp_path):
    given = instance_content()
    given["annotations"][0]["keypoints"] = [3, 4.25, 2, 0, 0, 0]
    path = write_json(given, tmp_path / "in.json")
    source = load_coco_instances(path, str(tmp_path))
    content = coco_content(source, ["four", "nine"], image_root=str(tmp_path), report=pytest.fail)
    read = load_coco_instances(write_json(content, tmp_path / "out.json"), str(tmp_path))
    for each in (a for image in source for a in image["annotations"]):
        if isinstance(each["segmentation"], dict):  # the codes of JSON are texts
            each["segmentation"] = json_rle(each["segmentation"])
    assert read == source


def test_regions_of_every_class_and_what_is_not_scored(tmp_path):
    labels = LabelSet("truth", pytest.fail, classes=CLASSES)
    video = labels.add_video("clip", ["0.jpg"], (HEIGHT, WIDTH))
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[3:5, 4:9] = True
    video.add(0, "cat", track=4, box=[1, 1, 5, 5], segmentation=mask, scored=False)
    video.add(0, None, box=[4, 3, 5, 2], segmentation=mask, ignored=True)
    video.add(0, "cat", box=[2, 2, 5, 5], segmentation=mask, ignored=True, scored=False)
    source, told = records_of(labels, labels.videos), []
    one = {"source": "mine", "report": told.append}
    for make in (coco_content, youtube_vis_content):
        crowds = [a for a in make(source, CLASSES, **one)["annotations"] if a["iscrowd"]]
        assert [each["category_id"] for each in crowds] == [1, 2, 3]
    write_mot(source, CLASSES, tmp_path / "mot", images=False, **one)
    rows = (tmp_path / "mot/clip/gt/gt.txt").read_text().splitlines()
    assert [row.split(",")[6:8] for row in rows] == [[*"12"], [*"01"], [*"02"], [*"03"]]
    assert len({row.split(",")[1] for row in rows}) == 4
    write_mots(source, CLASSES, tmp_path / "mots", images=False, **one)
    rows = (tmp_path / "mots/clip/gt/gt.txt").read_text().splitlines()
    assert [row.split()[1:3] for row in rows] == [["4", "2"]]  # which covers the region
    assert {str(each) for each in told if "score" in str(each)} == {
        "mine: 0 of 2 marks of what a benchmark does not score are written; left out: 1 of objects, 1 of "
        "similar classes"
    }


def test_sets_that_a_format_cannot_hold_are_refused(tmp_path):
    image = {"file_name": "a.jpg", "image_id": 1, "height": 4, "width": 4, "annotations": []}
    with pytest.raises(UserError, match="a set of images, and youtube-vis holds videos"):
        youtube_vis_content([image], CLASSES)
    with pytest.raises(UserError, match="no objects with boxes or masks"):
        coco_content([{"file_name": "a.avi", "video_id": 1, "label": 2}], CLASSES)
    with pytest.raises(UserError, match="is not in the folder"):
        coco_content([image], CLASSES, image_root=str(tmp_path))
    with pytest.raises(UserError, match="has no masks, and MOTS holds nothing else"):
        write_mots(records(tmp_path / "f", masks=False), CLASSES, tmp_path / "out")
