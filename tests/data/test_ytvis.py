import numpy as np
import pycocotools.mask as mask_util
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog

from d2video.data.datasets.builtin import register_instance_videos
from d2video.data.datasets.ytvis import load_ytvis_json, register_ytvis_instances
from d2video.data.datasets.ytvis_categories import (
    OVIS_CLASSES,
    YTVIS_2019_CLASSES,
    YTVIS_2021_CLASSES,
    ytvis_metadata,
)
from d2video.evaluation.vis.ground_truth import YTVISGroundTruth
from d2video.utils.errors import UserError
from tests.helpers.ytvis_content import (
    HEIGHT,
    LENGTH,
    WIDTH,
    compressed_rle,
    polygon,
    rectangle_mask,
)


def test_records_follow_the_contract(ytvis_content, write_json):
    first, second = load_ytvis_json(write_json(ytvis_content), "root")
    assert (first["video_id"], second["video_id"]) == (7, 3)
    assert (first["height"], first["width"], first["length"]) == (HEIGHT, WIDTH, LENGTH)
    assert first["file_names"][2] == "root/first/00002.png"
    assert [[a["id"] for a in frame] for frame in first["annotations"]] == [
        [11, 12, 13],
        [11, 12, 13],
        [11, 13],
        [11, 13],
        [11, 13],
    ]
    # Category ids 4 and 9 become 0 and 1.
    assert [a["category_id"] for a in first["annotations"][0]] == [1, 0, 0]
    assert [a["iscrowd"] for a in first["annotations"][0]] == [0, 0, 1]
    assert second["annotations"] == [[]] * LENGTH


def test_all_segmentation_forms_mean_the_same_mask(ytvis_content, write_json):
    record = load_ytvis_json(write_json(ytvis_content), "")[0]
    uncompressed, compressed, crowd = (a["segmentation"] for a in record["annotations"][1])
    assert not isinstance(uncompressed["counts"], list)
    assert np.array_equal(mask_util.decode(uncompressed), rectangle_mask(5, 4, 8, 6))
    assert np.array_equal(mask_util.decode(compressed), rectangle_mask(21, 10, 6, 9))
    assert np.array_equal(mask_util.decode(crowd), rectangle_mask(5, 4, 8, 6))


@pytest.mark.parametrize("how", ["missing", "null"])
def test_unlabelled_split_has_no_annotations_key(ytvis_content, write_json, how):
    if how == "missing":
        del ytvis_content["annotations"]
    else:
        ytvis_content["annotations"] = None
    assert all("annotations" not in r for r in load_ytvis_json(write_json(ytvis_content), ""))


def test_the_masks_tell_where_an_object_is(ytvis_content, write_json):
    """What is wrong with a box costs no label: the mask's is taken, and the file's is counted."""
    found = []
    boxes, masks = (ytvis_content["annotations"][0][k] for k in ("bboxes", "segmentations"))
    boxes[:] = [None, boxes[1], [0, 0, 0, 0], [WIDTH, 4, 8, 6], [14, 4, -8, 6]]
    masks[1] = None
    record = load_ytvis_json(write_json(ytvis_content), "", report=found.append)[0]
    first = [[a["bbox"] for a in frame if a["id"] == 11] for frame in record["annotations"]]
    assert first == [[[2 + 3 * t, 4, 8, 6]] if t != 1 else [] for t in range(LENGTH)]
    (boxes,) = (each for each in found if each.noun == "boxes")
    assert (boxes.used, boxes.reasons) == (
        7,
        {
            "whose box is 0,0,0,0 (the mask's is used)": 1,
            "whose box lies outside the image (the mask's is used)": 1,
            "whose box has no area (the mask's is used)": 1,
            "without a mask": 1,
        },
    )


def test_an_empty_mask_is_none(ytvis_content, write_json):
    found = []
    empty = {"size": [HEIGHT, WIDTH], "counts": [HEIGHT * WIDTH]}
    ytvis_content["annotations"][0]["segmentations"][2] = empty
    record = load_ytvis_json(write_json(ytvis_content), "", report=found.append)[0]
    assert [a["id"] for a in record["annotations"][2]] == [13]
    (boxes,) = (each for each in found if each.noun == "boxes")
    assert boxes.reasons == {"whose mask is empty": 1}


def test_registration_sets_metadata_from_the_file(ytvis_content, write_json, scratch_catalog):
    path = write_json(ytvis_content)
    register_ytvis_instances("tiny", {"thing_colors": [[0, 0, 0], [1, 1, 1]]}, path, "root")
    meta = MetadataCatalog.get("tiny")
    assert (meta.evaluator_type, meta.json_file, meta.image_root) == ("ytvis", path, "root")
    for _ in range(2):  # reading twice must not conflict with what the first reading set
        assert len(DatasetCatalog.get("tiny")) == 2
    assert meta.thing_classes == ["four", "nine"]
    assert meta.thing_dataset_id_to_contiguous_id == {4: 0, 9: 1}


def test_other_classes_than_registered_are_an_error(ytvis_content, write_json, scratch_catalog):
    path = write_json(ytvis_content)
    register_ytvis_instances("tiny", {"thing_classes": ["four", "ten"]}, path, "")
    with pytest.raises(UserError, match=r"class 1 is 'nine'.*registered with 'ten'"):
        DatasetCatalog.get("tiny")


def test_builtin_datasets(scratch_catalog):
    names = [
        f"{dataset}_{split}"
        for dataset in ("ytvis_2019", "ytvis_2021", "ytvis_2022", "ovis")
        for split in ("train", "val", "test")
    ]
    names += ["shapes_train", "shapes_val"]
    for name in names:  # registered on import, under the root of that moment
        assert MetadataCatalog.get(name).evaluator_type == "ytvis"
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)
    register_instance_videos("/data")
    meta = MetadataCatalog.get("ytvis_2019_val")
    assert meta.json_file == "/data/ytvis_2019/valid.json"
    assert meta.image_root == "/data/ytvis_2019/valid/JPEGImages"
    assert MetadataCatalog.get("shapes_val").json_file == "/data/shapes/val.json"
    assert MetadataCatalog.get("shapes_val").image_root == "/data/shapes/val/JPEGImages"
    assert MetadataCatalog.get("ovis_train").thing_classes[24] == "Vehical"
    with pytest.raises(UserError, match=r"/data/ytvis_2019/valid\.json does not exist"):
        DatasetCatalog.get("ytvis_2019_val")


def test_class_lists():
    assert [len(YTVIS_2019_CLASSES), len(YTVIS_2021_CLASSES), len(OVIS_CLASSES)] == [40, 40, 25]
    assert YTVIS_2019_CLASSES[0] == "person"
    assert YTVIS_2019_CLASSES[39] == "tennis_racket"
    assert YTVIS_2021_CLASSES[25] == "person"
    assert len(set(YTVIS_2019_CLASSES) & set(YTVIS_2021_CLASSES)) == 35
    colors_2019, colors_2021 = (
        dict(zip(m["thing_classes"], m["thing_colors"]))
        for m in map(ytvis_metadata, (YTVIS_2019_CLASSES, YTVIS_2021_CLASSES))
    )
    assert len({tuple(c) for c in colors_2019.values()}) == 40
    assert colors_2019["zebra"] == colors_2021["zebra"]


def _edit(path, value):
    """A function that sets content[path[0]][path[1]]... to value, or deletes it (value None)."""

    def apply(content):
        *parents, last = path
        for key in parents:
            content = content[key]
        if value is None:
            del content[last]
        else:
            content[last] = value

    return apply


ANNOTATION, VIDEO = ("annotations", 0), ("videos", 0)
FAULTS = {
    "unknown video": (_edit((*ANNOTATION, "video_id"), 99), "annotation 11: its video 99 is not"),
    "unknown category": (_edit((*ANNOTATION, "category_id"), 5), "11: its category 5 is not"),
    "text for a video": (_edit((*ANNOTATION, "video_id"), "7"), "11: its video_id, '7', is not a"),
    "fraction of a category": (
        _edit((*ANNOTATION, "category_id"), 9.5),
        "its category_id, 9.5, is",
    ),
    "no category": (_edit((*ANNOTATION, "category_id"), None), "its category_id, null, is not a"),
    "repeated track id": (_edit(("annotations", 1, "id"), 11), "annotation 11: .* there twice"),
    "negative track id": (_edit((*ANNOTATION, "id"), -1), "annotation -1: .* start at 0"),
    "track id of a fraction": (_edit((*ANNOTATION, "id"), 1.7), "1.7: its id, 1.7, is not a whole"),
    "track id of a text": (_edit((*ANNOTATION, "id"), "11"), "11: its id, '11', is not a whole"),
    "true for a track id": (_edit((*ANNOTATION, "id"), True), "its id, true, is not a whole"),
    "huge track id": (_edit((*ANNOTATION, "id"), 2**70), "its id, 1180591.*, is not a whole"),
    "endless track id": (_edit((*ANNOTATION, "id"), float("inf")), "annotation inf: its id, inf"),
    "crowd of a text": (_edit((*ANNOTATION, "iscrowd"), "0"), "its iscrowd, '0', must be 0 or 1"),
    "areas of texts": (
        _edit((*ANNOTATION, "areas"), ["48"] * 5),
        "areas must be numbers of pixels",
    ),
    "negative areas": (_edit((*ANNOTATION, "areas"), [-1] * 5), "areas must be numbers of pixels"),
    "endless areas": (_edit((*ANNOTATION, "areas"), [1e10] * 5), "areas must be numbers of pixels"),
    "one area": (_edit((*ANNOTATION, "areas"), 48), "areas .* 5 frames .* got 48"),
    "no segmentations": (
        _edit((*ANNOTATION, "segmentations"), None),
        "11: segmentations .* got null",
    ),
    "short list": (_edit((*ANNOTATION, "bboxes"), [None]), "bboxes .* 5 frames .* got 1"),
    "annotation is no dict": (_edit(ANNOTATION, 5), "annotation .0.: it is not an object"),
    "annotations no list": (_edit(("annotations",), 5), "must be a list"),
    "box of three": (
        _edit((*ANNOTATION, "bboxes", 2), [3, 3, 4]),
        r"11: bboxes, frame 2: \[3, 3, 4",
    ),
    "box of NaN": (
        _edit((*ANNOTATION, "bboxes", 2), [3, 3, 4, float("nan")]),
        "bboxes, frame 2: .*",
    ),
    "box of texts": (_edit((*ANNOTATION, "bboxes", 2), ["3"] * 4), "in finite numbers"),
    "0 for a box": (_edit((*ANNOTATION, "bboxes", 2), 0), "bboxes, frame 2: 0 is not"),
    "one box": (_edit((*ANNOTATION, "bboxes"), 0), "bboxes .* 5 frames .* got 0"),
    "mask of another size": (
        _edit((*ANNOTATION, "segmentations", 3), compressed_rle(np.ones((WIDTH, HEIGHT), "u1"))),
        r"frame 3: the mask's size is \[32, 24\], the image's \[24, 32\]: the height",
    ),
    "runs of another size": (
        _edit((*ANNOTATION, "segmentations", 3), {"size": [4, 5], "counts": [7, 13]}),
        r"frame 3: the mask's size is \[4, 5\], the image's \[24, 32\]",
    ),
    "runs that do not add up": (
        _edit((*ANNOTATION, "segmentations", 3, "counts"), [3, 4]),
        "frame 3: the runs .* 768 pixels",
    ),
    "runs that are no numbers": (
        _edit((*ANNOTATION, "segmentations", 3, "counts"), ["3", None]),
        "frame 3: the runs",
    ),
    "negative runs": (
        _edit((*ANNOTATION, "segmentations", 3, "counts"), [HEIGHT * WIDTH + 1, -1]),
        "frame 3: the runs",
    ),
    "runs of an empty mask": (
        _edit((*ANNOTATION, "segmentations", 3), {"size": [0, 0], "counts": []}),
        "frame 3: the mask's size",
    ),
    "code cut off": (
        _edit((*ANNOTATION, "segmentations", 3), {"size": [HEIGHT, WIDTH], "counts": "Pd"}),
        "frame 3: 'counts' is not a COCO run-length code",
    ),
    "empty object for a mask": (
        _edit((*ANNOTATION, "segmentations", 3), {}),
        "frame 3: an object without size and counts",
    ),
    "polygon of strings": (
        _edit((*ANNOTATION, "segmentations", 3), [["1"] * 6]),
        "frame 3: the coordinates",
    ),
    "segmentation of another kind": (
        _edit((*ANNOTATION, "segmentations", 3), "mask.png"),
        "frame 3: a text, 'mask.png'; a segmentation is",
    ),
    "polygon of half a point": (
        _edit((*ANNOTATION, "segmentations", 3), [[1, 1, 2, 2, 3, 3, 4]]),
        "a polygon has 7 numbers",
    ),
    "polygon beyond the frame": (
        _edit((*ANNOTATION, "segmentations", 3), polygon(40, 40, 5, 5)),
        "a polygon lies outside",
    ),
    "no frames": (_edit((*VIDEO, "file_names"), []), "video 7: it has no frames"),
    "wrong length": (_edit((*VIDEO, "length"), 9), "length is 9 but there are 5"),
    "fraction of a width": (
        _edit((*VIDEO, "width"), 32.5),
        "video 7: its (id|width|height), .*, is not a whole number",
    ),
    "text for a height": (
        _edit((*VIDEO, "height"), "24"),
        "video 7: its (id|width|height), .*, is not a whole number",
    ),
    "text for a video's id": (
        _edit((*VIDEO, "id"), "7"),
        "video 7: its (id|width|height), .*, is not a whole number",
    ),
    "text for a length": (_edit((*VIDEO, "length"), "5"), "length is '5' but there are 5"),
    "no width": (
        _edit((*VIDEO, "width"), None),
        "video 7: its (id|width|height), .*, is not a whole number",
    ),
    "width 0": (_edit((*VIDEO, "width"), 0), "size is 0x24"),
    "repeated video": (_edit((*VIDEO, "id"), 3), "video 3: it is there twice"),
    "path upwards": (_edit((*VIDEO, "file_names", 1), "a/../../b.jpg"), "outside the image root"),
    "absolute path": (_edit((*VIDEO, "file_names", 1), "/etc/b.jpg"), "outside the image root"),
    "frames are numbers": (_edit((*VIDEO, "file_names"), [1, 2]), "list of paths"),
    "no videos": (_edit(("videos",), []), "lists no videos"),
    "no categories": (_edit(("categories",), None), "'categories' must be a list"),
    "repeated category": (_edit(("categories", 0, "id"), 4), "its id is there twice"),
    "repeated category name": (
        _edit(("categories", 0, "name"), "four"),
        "is there twice; make one category",
    ),
    "COCO images": (
        lambda content: content.update(images=content.pop("videos")),
        "not in YouTube-VIS format: it holds 'images'",
    ),
}


# Evaluation reads no images.
TRAINING_ONLY = {
    "path upwards",
    "absolute path",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faulty_file_is_named_in_one_line(ytvis_content, write_json, fault):
    edit, message = FAULTS[fault]
    edit(ytvis_content)
    path = write_json(ytvis_content)
    with pytest.raises(UserError, match=message) as caught:
        load_ytvis_json(path, "")
    assert path in str(caught.value)
    assert "\n" not in str(caught.value)
    if fault in TRAINING_ONLY:
        YTVISGroundTruth.from_json(path)
    else:
        with pytest.raises(UserError) as again:
            YTVISGroundTruth.from_json(path)
        assert str(again.value) == str(caught.value)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (None, "does not exist"),
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"{'videos'", "is not JSON"),
        (b"\x1f\x8b\x08\x00", r"is packed \(gzip\): unpack it"),
        (b"\xff\xd8\xff\xe0", "is not JSON"),
        (b"[]", "it is a list, as result files are"),
        (b"5", "it has no list 'videos'"),
    ],
)
def test_file_that_is_no_dataset(tmp_path, raw, message):
    path = tmp_path / "x.json"
    if raw is not None:
        path.write_bytes(raw)
    with pytest.raises(UserError, match=message) as caught:
        load_ytvis_json(str(path), "")
    assert "\n" not in str(caught.value)


def test_boxes_and_polygons_may_stick_out(ytvis_content, write_json):
    ytvis_content["annotations"][0]["bboxes"][0] = [-2, -2, WIDTH + 9, 5]
    ytvis_content["annotations"][2]["segmentations"][0] = polygon(-2, -2, 9, 9)
    record = load_ytvis_json(write_json(ytvis_content), "")[0]
    assert len(record["annotations"][0]) == 3
