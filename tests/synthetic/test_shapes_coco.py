"""Generated images in COCO format: labels, files, how they are registered, the command line."""

import contextlib
import hashlib
import importlib.util
import io
import json
import os

import cv2
import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets.coco_panoptic import load_coco_panoptic_json
from PIL import Image
from pycocotools.coco import COCO

from d2video.data.datasets.builtin import register_shapes_images
from d2video.data.datasets.coco_panoptic import panoptic_metadata, register_coco_panoptic
from d2video.formats.coco_panoptic import PanopticFile
from d2video.synthetic import (
    STUFF_NAMES,
    ShapesSpec,
    render_image,
    video_rng,
    write_coco_shapes,
    write_ytvis_shapes,
)
from d2video.synthetic import coco as coco_writer
from d2video.synthetic.panoptic import panoptic_annotation
from d2video.utils.errors import UserError
from tests.helpers import ROOT

STUFF = ("water", "grass", "brick")
SPEC = ShapesSpec(classes=("star", "circle"), stuff=STUFF, max_objects=4)
SPLITS = {"train": 12, "val": 4}
SEED = 3


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """A panoptic dataset; tests must not change it."""
    root = tmp_path_factory.mktemp("datasets") / "shapes_coco"
    assert write_coco_shapes(root, SPLITS, SPEC, SEED, panoptic=True, progress=False)
    return root


def read(root, kind, split):
    return json.loads((root / "annotations" / f"{kind}_{split}.json").read_text())


def label_ids(path):
    """The segment ids (H, W) of a label image."""
    blue, green, red = np.moveaxis(cv2.imread(str(path)).astype(int), -1, 0)
    return red + 256 * green + 256**2 * blue


def box_of(mask):
    rows, columns = np.nonzero(mask)
    return [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]


def file_digests(root):
    files = (path for path in root.rglob("*") if path.is_file())
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
    }


# ---------------------------------------------------------------- files


@pytest.mark.parametrize("split", SPLITS)
def test_instances_say_what_was_drawn(dataset, split):
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(dataset / "annotations" / f"instances_{split}.json"))
    assert sorted(coco.imgs) == list(range(1, SPLITS[split] + 1))
    assert sorted(coco.anns) == list(range(1, len(coco.anns) + 1))
    assert [(c["id"], c["name"]) for c in coco.dataset["categories"]] == [
        (1, "star"),
        (2, "circle"),
    ]
    assert len(list((dataset / split).iterdir())) == len(coco.imgs)
    for image_id, record in coco.imgs.items():
        drawn = render_image(SPEC, video_rng(SEED, split, image_id - 1))
        path = dataset / split / record["file_name"]
        assert path.read_bytes()[:3] == b"\xff\xd8\xff"  # a real JPEG
        stored = cv2.imread(str(path))[..., ::-1]
        assert stored.shape == (record["height"], record["width"], 3)
        assert np.abs(stored.astype(int) - drawn.frames[0]).mean() < 6  # no swapped channels
        items = coco.imgToAnns[image_id]
        assert [item["category_id"] - 1 for item in items] == drawn.classes.tolist()
        for item, mask in zip(items, drawn.masks[:, 0], strict=True):
            np.testing.assert_array_equal(coco.annToMask(item), mask)
            assert item["area"] == mask.sum()
            assert item["bbox"] == box_of(mask)
            assert item["iscrowd"] == 0


@pytest.mark.parametrize("split", SPLITS)
def test_every_pixel_has_its_segment(dataset, split):
    data = read(dataset, "panoptic", split)
    assert data["images"] == read(dataset, "instances", split)["images"]
    assert [(c["id"], c["name"], c["isthing"]) for c in data["categories"]] == [
        (1, "star", 1),
        (2, "circle", 1),
        (3, "water", 0),
        (4, "grass", 0),
        (5, "brick", 0),
    ]
    seen = set()
    for annotation in data["annotations"]:
        drawn = render_image(SPEC, video_rng(SEED, split, annotation["image_id"] - 1))
        ids = label_ids(dataset / f"panoptic_{split}" / annotation["file_name"])
        segments = annotation["segments_info"]
        assert sorted(np.unique(ids)) == sorted(segment["id"] for segment in segments)
        assert ids.min() > 0
        for segment in segments:
            mask = ids == segment["id"]
            assert segment["area"] == mask.sum()
            assert segment["bbox"] == box_of(mask)
            assert segment["iscrowd"] == 0
        count = len(drawn.classes)
        for segment, mask, label in zip(segments, drawn.masks[:, 0], drawn.classes, strict=False):
            np.testing.assert_array_equal(ids == segment["id"], mask)
            assert segment["category_id"] == label + 1
        free = ~drawn.masks[:, 0].any(axis=0)
        for segment in segments[count:]:
            label = segment["category_id"] - 3
            np.testing.assert_array_equal(ids == segment["id"], free & (drawn.stuff[0] == label))
            seen.add(label)
    assert len(data["annotations"]) == SPLITS[split]
    assert seen == {0, 1, 2}


def test_ids_use_all_three_channels(dataset):
    images = [cv2.imread(str(path)) for path in (dataset / "panoptic_train").iterdir()]
    assert (np.max([image.max(axis=(0, 1)) for image in images], axis=0) > 0).all()


def test_an_image_without_free_background_has_no_stuff():
    masks = np.zeros((2, 4, 6), bool)
    masks[0, :2], masks[1, 2:] = True, True
    pixels, segments = panoptic_annotation(masks, np.array([1, 0]), np.zeros((4, 6), np.uint8), 2)
    assert [segment["category_id"] for segment in segments] == [2, 1]
    assert [segment["bbox"] for segment in segments] == [[0, 0, 6, 2], [0, 2, 6, 2]]
    assert pixels.shape == (4, 6, 3)


def test_an_image_depends_on_seed_split_and_index_alone(dataset, tmp_path):
    write_coco_shapes(tmp_path / "more", {"val": 1, "train": 14}, SPEC, SEED, progress=False)
    write_coco_shapes(tmp_path / "seed", {"train": 2}, SPEC, SEED + 1, progress=False)
    before, more, seed = (
        file_digests(root) for root in (dataset, tmp_path / "more", tmp_path / "seed")
    )
    images = [name for name in before if name.startswith("train/")]
    assert len(images) == 12
    # Without panoptic labels, in a longer split, in another order: the same images.
    assert all(before[name] == more[name] for name in images)
    assert all(before[name] != seed[name] for name in images if name in seed)
    pictures = [digest for name, digest in before.items() if name.endswith(".jpg")]
    assert len(set(pictures)) == 16
    shorter, longer = (read(r, "instances", "train") for r in (dataset, tmp_path / "more"))
    assert shorter["annotations"] == longer["annotations"][: len(shorter["annotations"])]
    assert not list((tmp_path / "more").glob("*panoptic*"))
    assert [path.name for path in (tmp_path / "seed" / "annotations").iterdir()] == [
        "instances_train.json"
    ]


def test_same_arguments_give_the_same_bytes_and_are_reused(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    for root in (one, two):
        assert write_coco_shapes(root, {"a": 2}, SPEC, panoptic=True, progress=False)
    assert file_digests(one) == file_digests(two)
    assert not write_coco_shapes(one, {"a": 2}, SPEC, panoptic=True, progress=False)
    # What does not matter is no other argument.
    slow = ShapesSpec(classes=SPEC.classes, stuff=STUFF, max_objects=4, num_frames=(2, 3))
    assert not write_coco_shapes(one, {"a": 2}, slow, panoptic=True, progress=False)
    for other in ({"panoptic": False}, {"panoptic": True, "jpeg_quality": 80}):
        with pytest.raises(UserError, match="other arguments"):
            write_coco_shapes(one, {"a": 2}, SPEC, progress=False, **other)
    assert file_digests(one) == file_digests(two)
    assert write_coco_shapes(one, {"a": 2}, SPEC, overwrite=True, progress=False)
    assert not (one / "panoptic_a").exists()


def test_videos_and_images_do_not_pass_for_each_other(tmp_path):
    spec = ShapesSpec(num_frames=(1, 1))
    write_ytvis_shapes(tmp_path / "shapes", {"a": 1}, spec, progress=False)
    with pytest.raises(UserError, match="other arguments"):
        write_coco_shapes(tmp_path / "shapes", {"a": 1}, spec, progress=False)


def test_folder_of_videos_from_before_there_was_stuff_is_reused(tmp_path):
    spec = ShapesSpec(num_frames=(2, 2))
    write_ytvis_shapes(tmp_path / "old", {"a": 1}, spec, progress=False)
    recorded = json.loads((tmp_path / "old" / "spec.json").read_text())["arguments"]
    assert list(recorded) == ["splits", "spec", "seed", "compressed", "jpeg_quality"]
    assert "stuff" not in recorded["spec"]
    with_stuff = ShapesSpec(num_frames=(2, 2), stuff=("sand",))
    with pytest.raises(UserError, match="other arguments"):
        write_ytvis_shapes(tmp_path / "old", {"a": 1}, with_stuff, progress=False)


def test_interrupted_run_leaves_nothing(tmp_path, monkeypatch):
    render, calls = coco_writer.render_image, []

    def interrupted(spec, rng):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return render(spec, rng)

    monkeypatch.setattr(coco_writer, "render_image", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_coco_shapes(tmp_path / "shapes", {"train": 3}, progress=False)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("splits", "options"),
    [
        ({}, {}),
        ({"train": 0}, {}),
        ({"..": 1}, {}),
        ({"annotations": 1}, {}),
        ({"spec.json": 1}, {}),
        ({"a": 1, "panoptic_a": 1}, {}),
        ({"train": 1}, {"jpeg_quality": 101}),
        ({"train": 1}, {"panoptic": True}),  # the specification has no stuff
    ],
)
def test_wrong_arguments_write_nothing(tmp_path, splits, options):
    with pytest.raises(UserError) as error:
        write_coco_shapes(tmp_path / "shapes", splits, ShapesSpec(), progress=False, **options)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------- registration


@pytest.fixture
def registered(dataset, scratch_catalog):
    """The built-in datasets, registered anew under the dataset's folder."""
    for kind in ("coco", "panoptic"):
        for split in ("train", "val"):
            DatasetCatalog.remove(f"shapes_{kind}_{split}")  # registered on import
            MetadataCatalog.pop(f"shapes_{kind}_{split}")
    register_shapes_images(str(dataset.parent))


def test_registered_instances(dataset, registered):
    meta = MetadataCatalog.get("shapes_coco_val")
    assert meta.evaluator_type == "coco"
    assert meta.get("thing_classes") is None  # nothing is read yet
    records = DatasetCatalog.get("shapes_coco_val")
    assert meta.thing_classes == ["star", "circle"]
    assert meta.thing_dataset_id_to_contiguous_id == {1: 0, 2: 1}
    assert [record["image_id"] for record in records] == [1, 2, 3, 4]
    assert all(os.path.isfile(record["file_name"]) for record in records)
    drawn = render_image(SPEC, video_rng(SEED, "val", 0))
    found = [item["category_id"] for item in records[0]["annotations"]]
    assert found == drawn.classes.tolist()


def test_registered_panoptic(dataset, registered):
    meta = MetadataCatalog.get("shapes_panoptic_train")
    assert meta.evaluator_type == "coco_panoptic_seg"
    assert meta.get("thing_classes") is None
    assert meta.image_root == str(dataset / "train")
    assert meta.panoptic_root == str(dataset / "panoptic_train")
    assert meta.panoptic_json == str(dataset / "annotations" / "panoptic_train.json")
    assert meta.json_file == str(dataset / "annotations" / "instances_train.json")

    records = DatasetCatalog.get("shapes_panoptic_train")
    names = ["star", "circle", "water", "grass", "brick"]
    assert meta.thing_classes == meta.stuff_classes == names
    assert meta.thing_dataset_id_to_contiguous_id == {1: 0, 2: 1}
    assert meta.stuff_dataset_id_to_contiguous_id == {3: 2, 4: 3, 5: 4}
    sizes = {(record["height"], record["width"]) for record in records}
    assert sizes == {Image.open(record["file_name"]).size[::-1] for record in records}
    without_sizes = [
        {key: value for key, value in record.items() if key not in ("height", "width")}
        for record in records
    ]
    assert without_sizes == load_coco_panoptic_json(
        meta.panoptic_json, meta.image_root, meta.panoptic_root, meta.as_dict()
    )
    for record in records:
        assert os.path.isfile(record["file_name"])
        ids = label_ids(record["pan_seg_file_name"])
        drawn = render_image(SPEC, video_rng(SEED, "train", record["image_id"] - 1))
        for segment in record["segments_info"]:
            assert segment["isthing"] is (segment["category_id"] < 2)
            if not segment["isthing"]:
                region = drawn.stuff[0][ids == segment["id"]]
                assert (region == segment["category_id"] - 2).all()
    assert DatasetCatalog.get("shapes_panoptic_train") == records  # can be read again


def test_contiguous_ids_count_things_first(tmp_path):
    categories = [
        {"id": 9, "name": "sky", "isthing": 0},
        {"id": 4, "name": "dog", "isthing": 1},
        {"id": 2, "name": "sea", "isthing": 0},
        {"id": 7, "name": "cat", "isthing": 1},
    ]
    image = {"image_id": 1, "file_name": "1.png", "segments_info": []}
    content = {"categories": categories, "annotations": [image]}
    (tmp_path / "p.json").write_text(json.dumps(content))
    meta = panoptic_metadata(PanopticFile.read(str(tmp_path / "p.json")))
    assert meta["thing_classes"] == meta["stuff_classes"] == ["dog", "cat", "sea", "sky"]
    assert meta["thing_dataset_id_to_contiguous_id"] == {4: 0, 7: 1}
    assert meta["stuff_dataset_id_to_contiguous_id"] == {2: 2, 9: 3}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"categories": [{"id": 1, "name": "dog"}]}'])
def test_file_of_another_format(tmp_path, text):
    (tmp_path / "p.json").write_text(text)
    with pytest.raises(UserError, match="not in COCO panoptic format|is not JSON") as error:
        panoptic_metadata(PanopticFile.read(str(tmp_path / "p.json")))
    assert "\n" not in str(error.value)


def test_missing_or_other_panoptic_file(dataset, tmp_path, scratch_catalog):
    root = str(dataset)
    folders = (f"{root}/val", f"{root}/panoptic_val")
    register_coco_panoptic("missing", {}, *folders, str(tmp_path / "none.json"))
    with pytest.raises(UserError, match=r"none\.json does not exist"):
        DatasetCatalog.get("missing")
    file = f"{root}/annotations/panoptic_val.json"
    register_coco_panoptic("other", {"thing_classes": ["dog"]}, *folders, file)
    with pytest.raises(UserError, match="its thing_classes are not those"):
        DatasetCatalog.get("other")


# ---------------------------------------------------------------- command line


@pytest.fixture
def tool():
    spec = importlib.util.spec_from_file_location("tool", ROOT / "tools/make_shapes_dataset.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_command_line_makes_what_the_function_makes(tool, dataset, tmp_path):
    root = tmp_path / "made"
    options = ["--format", "panoptic", "--stuff", *STUFF, "--classes", *SPEC.classes]
    options += ["--max-objects", "4", "--seed", str(SEED), "--split", "train=12", "val=4"]
    tool.main([str(root), *options])
    assert file_digests(root) == file_digests(dataset)
    tool.main([str(root), *options, "--overwrite", "--format", "coco"])
    assert not (root / "panoptic_val").exists()


def test_command_line_uses_all_stuff_unless_named(tool, tmp_path):
    tool.main([str(tmp_path / "a"), "--format", "panoptic", "--split", "a=1"])
    categories = read(tmp_path / "a", "panoptic", "a")["categories"]
    assert [c["name"] for c in categories if not c["isthing"]] == list(STUFF_NAMES)


@pytest.mark.parametrize(
    "wrong", [["--num-frames", "2", "2"], ["--duration", "0.5"], ["--no-compressed"]]
)
def test_command_line_refuses_what_only_videos_have(tool, tmp_path, capsys, wrong):
    with pytest.raises(SystemExit) as stop:
        tool.main([str(tmp_path / "a"), "--format", "coco", "--split", "a=1", *wrong])
    assert stop.value.code == 1
    assert capsys.readouterr().err.startswith(
        f"error: {wrong[0]}: not for --format coco, only for "
    )
