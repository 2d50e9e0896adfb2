import numpy as np
import pycocotools.mask as coco_mask
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import BoxMode

from d2video.data.datasets.coco_tracks import load_coco_tracks, register_coco_tracks
from d2video.utils.errors import UserError

HEIGHT, WIDTH = 24, 32


def image(image_id, frame_id, video, key="first_frame_image_id", **fields):
    return {
        "id": image_id,
        "file_name": f"{video}/{frame_id}.jpg",
        "height": HEIGHT,
        "width": WIDTH,
        "frame_id": frame_id,
        key: video,
        **fields,
    }


def box(annotation_id, image_id, track_id, **fields):
    return {
        "id": annotation_id,
        "image_id": image_id,
        "track_id": track_id,
        "category_id": 9,
        "bbox": [annotation_id, 2, 3.5, 4],
        "area": 14,
        "iscrowd": 0,
        **fields,
    }


@pytest.fixture
def content():
    """Two videos, their images mixed, out of order."""
    return {
        "categories": [{"id": 9, "name": "dog"}, {"id": 4, "name": "cat"}],
        "images": [
            image(7, 1, 5, seq_length=2),
            image(3, 0, 3),
            image(5, 0, 5, seq_length=2),
            image(4, 2, 3),
        ],
        "annotations": [
            box(1, 7, 1, visibility=0.5),
            box(2, 5, 1),
            box(3, 5, 0, category_id=4, bbox=[-3, -2, 5, 40]),
            box(4, 5, 2, ignore=1),
            box(5, 5, 3, iscrowd=1),
            box(6, 4, 1),
        ],
    }


def test_records_follow_the_contract(content, write_json):
    first, second = load_coco_tracks(write_json(content), "root")
    assert first["file_names"] == ["root/5/0.jpg", "root/5/1.jpg"]
    assert second["file_names"] == ["root/3/0.jpg", "root/3/2.jpg"]
    assert (first["video_id"], second["video_id"]) == (1, 2)
    assert (first["sequence"], second["sequence"]) == ("video_1", "video_2")
    assert (first["height"], first["width"], first["length"]) == (HEIGHT, WIDTH, 2)
    assert first["annotations"][0] == [
        {
            "id": 1,
            "category_id": 1,
            "iscrowd": 0,
            "bbox": [2, 2, 3.5, 4],
            "bbox_mode": BoxMode.XYWH_ABS,
            "visibility": 1,
        },
        {
            "id": 0,
            "category_id": 0,
            "iscrowd": 0,
            "bbox": [-3, -2, 5, 40],
            "bbox_mode": BoxMode.XYWH_ABS,
            "visibility": 1,
        },
    ]
    assert [a["visibility"] for a in first["annotations"][1]] == [0.5]
    assert [[a["id"] for a in frame] for frame in second["annotations"]] == [[], [1]]
    assert [[a["bbox"][0] for a in frame] for frame in first["ignored"]] == [[4, 5], []]
    assert "ignored" not in second


def test_videos_by_id_and_name(content, write_json):
    for entry in content["images"]:
        entry["video_id"] = entry.pop("first_frame_image_id")
    content["videos"] = [{"id": 3, "name": "park"}, {"id": 5, "name": "yard"}]
    records = load_coco_tracks(write_json(content), "root")
    assert [r["sequence"] for r in records] == ["yard", "park"]


@pytest.mark.parametrize("how", ["missing", "null"])
def test_unlabelled_file_has_no_annotations(content, write_json, how):
    if how == "missing":
        del content["annotations"]
    else:
        content["annotations"] = None
    assert all("annotations" not in r for r in load_coco_tracks(write_json(content), ""))


def test_labelled_file_without_objects(content, write_json):
    content["annotations"] = []
    records = load_coco_tracks(write_json(content), "")
    assert [[*r["annotations"]] for r in records] == [[[], []], [[], []]]


def test_all_forms_of_masks(content, write_json):
    runs = {"size": [HEIGHT, WIDTH], "counts": [0, HEIGHT * 4, HEIGHT * (WIDTH - 4)]}
    compressed = coco_mask.frPyObjects(runs, HEIGHT, WIDTH)
    text = {**compressed, "counts": compressed["counts"].decode()}
    polygon = [[0, 0, 4, 0, 4, HEIGHT, 0, HEIGHT]]
    for annotation, mask in zip(
        content["annotations"], [runs, text, polygon, None, [], runs], strict=True
    ):
        annotation["segmentation"] = mask
    first, second = load_coco_tracks(write_json(content), "")
    found = [a for r in (first, second) for frame in r["annotations"] for a in frame]
    assert len(found) == 4
    wanted = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    wanted[:, :4] = 1
    for annotation in found:
        assert np.array_equal(coco_mask.decode(annotation["segmentation"]), wanted)


def edit(*path_and_value):
    *path, key, value = path_and_value

    def change(content):
        for step in path:
            content = content[step]
        if value is None:
            del content[key]
        else:
            content[key] = value

    return change


ANNOTATION = ("annotations", 1)
BAD = {
    "no images": (edit("images", []), "lists no images"),
    "images of another kind": (edit("images", 5), "'images' must be a list"),
    "annotations of another kind": (
        edit("annotations", [5]),
        "annotation [0]: it is not an object",
    ),
    "no categories": (edit("categories", None), "'categories' is missing"),
    "repeated category": (edit("categories", 0, "id", 4), "category 4: its id is there twice"),
    "image without a video": (edit("images", 0, "first_frame_image_id", None), "image 7: it needs"),
    "image without a frame": (edit("images", 0, "frame_id", None), "image 7: it needs"),
    "image of no size": (edit("images", 0, "height", 0), "image 7: its size is 32x0"),
    "repeated image": (edit("images", 0, "id", 3), "image 3: its id is there twice"),
    "repeated frame": (
        edit("images", 0, "frame_id", 0),
        "5: two have the same frame_id",
    ),
    "sizes": (edit("images", 0, "width", 40), "first_frame_image_id 5: they differ in size"),
    "length": (edit("images", 2, "seq_length", 3), "there are 2, but their seq_length is 3"),
    "path upwards": (edit("images", 0, "file_name", "../x.jpg"), "outside the image root"),
    "absolute path": (edit("images", 0, "file_name", "/x.jpg"), "outside the image root"),
    "videos": (edit("videos", [5]), "video [0]: it is not an object"),
    "unknown image": (edit(*ANNOTATION, "image_id", 99), "annotation 2: its image_id, 99, is not"),
    "unknown category": (
        edit(*ANNOTATION, "category_id", 5),
        "annotation 2: its category_id, 5, is not",
    ),
    "no track": (edit(*ANNOTATION, "track_id", None), "annotation 2: it has no track_id"),
    "negative track": (
        edit(*ANNOTATION, "track_id", -1),
        "its track_id, -1, must be a whole",
    ),
    "track of text": (
        edit(*ANNOTATION, "track_id", "one"),
        "its track_id, 'one', must be a whole",
    ),
    "track twice": (edit(*ANNOTATION, "track_id", 0), "track 0 is twice in frame 1"),
    "no box": (
        edit(*ANNOTATION, "bbox", None),
        "annotation 2: it has neither bbox nor segmentation",
    ),
    "box of three": (edit(*ANNOTATION, "bbox", [1, 2, 3]), "is not made of four finite numbers"),
    "box of nan": (
        edit(*ANNOTATION, "bbox", [1, 2, float("nan"), 3]),
        "is not made of four finite numbers",
    ),
    "half a point": (edit(*ANNOTATION, "segmentation", [[0, 0, 4, 0, 4]]), "has 5 numbers"),
    "points of text": (edit(*ANNOTATION, "segmentation", [["1"] * 6]), "must be numbers"),
    "short runs": (
        edit(*ANNOTATION, "segmentation", {"size": [HEIGHT, WIDTH], "counts": [5]}),
        "cover 5 pixels, the image has 768",
    ),
    "broken code": (
        edit(*ANNOTATION, "segmentation", {"size": [HEIGHT, WIDTH], "counts": "Pd"}),
        "not a COCO run-length code",
    ),
    "other size": (
        edit(*ANNOTATION, "segmentation", {"size": [WIDTH, HEIGHT], "counts": "11"}),
        "the mask's size is",
    ),
    "mask of text": (edit(*ANNOTATION, "segmentation", "mask.png"), "a text, 'mask.png'"),
}


@pytest.mark.parametrize("fault", BAD)
def test_faulty_file_is_named_in_one_line(content, write_json, fault):
    change, message = BAD[fault]
    change(content)
    path = write_json(content)
    with pytest.raises(UserError) as caught:
        load_coco_tracks(path, "")
    assert path in str(caught.value)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("raw", "message"),
    [(None, "does not exist"), (b"", "not JSON"), (b"\xff\xd8", "not JSON"), (b"[]", "is a list")],
)
def test_file_that_is_no_dataset(tmp_path, raw, message):
    path = tmp_path / "x.json"
    if raw is not None:
        path.write_bytes(raw)
    with pytest.raises(UserError, match=message) as caught:
        load_coco_tracks(str(path), "")
    assert "\n" not in str(caught.value)


def test_registered_set_is_read_on_first_use(content, write_json, scratch_catalog):
    register_coco_tracks("x_tracks", "no.json", "")
    register_coco_tracks("y_tracks", write_json(content), "root")
    assert len(DatasetCatalog.get("y_tracks")) == 2
    meta = MetadataCatalog.get("y_tracks")
    assert meta.thing_classes == ["cat", "dog"]
    assert meta.thing_dataset_id_to_contiguous_id == {4: 0, 9: 1}
    assert (meta.evaluator_type, meta.benchmark) == ("mot", "MOT17")
    register_coco_tracks("z_tracks", "no.json", "", masks=True)
    meta = MetadataCatalog.get("z_tracks")
    assert (meta.evaluator_type, meta.benchmark) == ("mots", "MOTS20")
