"""Folders of images and pairs of them, built-in sets, and what is wrong with them."""

import os

import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image

from d2video.data import register_image_folder, register_image_pairs
from d2video.data.datasets.builtin import register_restoration
from d2video.data.datasets.image_folder import load_image_folder, load_image_pairs
from d2video.utils.errors import UserError


def save(path, height=8, width=12, **arguments):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((height, width, 3), 9, np.uint8)).save(path, **arguments)


def names(records, root, key="file_name"):
    return [os.path.relpath(record[key], root) for record in records]


def test_folder(tmp_path):
    for name in ("b.png", "a/z.JPEG", "a/deep/x.bmp", ".hidden.png", ".cache/y.png", "c.jpg"):
        save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    records = load_image_folder(str(tmp_path))
    assert names(records, tmp_path) == ["a/deep/x.bmp", "a/z.JPEG", "b.png", "c.jpg"]
    assert [record["image_id"] for record in records] == [1, 2, 3, 4]
    assert all("task" not in record for record in records)
    flat = load_image_folder(str(tmp_path), task="denoise_30", recursive=False)
    assert names(flat, tmp_path) == ["b.png", "c.jpg"]
    assert {record["task"] for record in flat} == {"denoise_30"}


def test_empty_and_missing_folders(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no image"):
        load_image_folder(str(tmp_path / "empty"))
    with pytest.raises(UserError, match="does not exist: correct the path"):
        load_image_folder(str(tmp_path / "none"))


def test_pairs_by_name_and_size(tmp_path):
    # Up to a pixel more than twice the size is cut off.
    for name, (height, width) in {"a": (16, 24), "b": (17, 25)}.items():
        save(tmp_path / f"HR/{name}.png", height, width)
        save(tmp_path / f"LR/{name}x2.png", 8, 12)
    how = {"scale": 2, "degraded_pattern": "{name}x2"}
    records = load_image_pairs(str(tmp_path / "HR"), str(tmp_path / "LR"), "sr_x2", **how)
    assert names(records, tmp_path) == ["HR/a.png", "HR/b.png"]
    assert names(records, tmp_path, "degraded_file_name") == ["LR/ax2.png", "LR/bx2.png"]
    assert {record["task"] for record in records} == {"sr_x2"}

    save(tmp_path / "LR/bx2.png", 9, 12)
    with pytest.raises(UserError, match=r"b\.png \(17x25\) and .*bx2\.png \(9x12.*must be 8x12"):
        load_image_pairs(str(tmp_path / "HR"), str(tmp_path / "LR"), "sr_x2", **how)


@pytest.mark.parametrize("gone", ["HR/b.png", "LR/bx2.png"])
def test_missing_partner_names_both(tmp_path, gone):
    for name in "ab":
        save(tmp_path / f"HR/{name}.png", 16, 24)
        save(tmp_path / f"LR/{name}x2.png", 8, 12)
    (tmp_path / gone).unlink()
    roots = (str(tmp_path / "HR"), str(tmp_path / "LR"))
    with pytest.raises(UserError, match="no partner") as error:
        load_image_pairs(*roots, "sr_x2", scale=2, degraded_pattern="{name}x2")
    assert all(str(tmp_path / name) in str(error.value) for name in ("HR/b.png", "LR/bx2.png"))


@pytest.mark.parametrize("folder", ["rainy", "."])
def test_rain100l_in_both_layouts(tmp_path, folder, scratch_catalog):
    """As the code expects it, and as the official README says: rain beside norain."""
    for k in (1, 2):
        save(tmp_path / f"benchmark/Rain100L/norain-{k}.png")
        save(tmp_path / f"benchmark/Rain100L/{folder}/rain-{k}.png")
    clear_and_register(tmp_path)
    records = DatasetCatalog.get("rain100l_derain")
    root = tmp_path / "benchmark/Rain100L"
    assert names(records, root) == ["norain-1.png", "norain-2.png"]
    assert [os.path.basename(r["degraded_file_name"]) for r in records] == [
        "rain-1.png",
        "rain-2.png",
    ]


def clear_and_register(root):
    DatasetCatalog.clear()
    MetadataCatalog.clear()
    register_restoration(str(root))


def test_builtin_sets(tmp_path, scratch_catalog):
    save(tmp_path / "benchmark/Set5/HR/baby.png", 16, 24)
    save(tmp_path / "benchmark/Set5/LR_bicubic/X4/babyx4.png", 4, 6)
    save(tmp_path / "benchmark/CBSD68/1.png")
    save(tmp_path / "benchmark/CBSD68/noisy/1.png")
    save(tmp_path / "imagenet/train/n01/n01_1.JPEG")
    save(tmp_path / "shapes_images/val/00000.png")
    save(tmp_path / "DIV2K/DIV2K_train_HR/0001.png", 16, 24)
    save(tmp_path / "DIV2K/DIV2K_train_LR_bicubic/X2/0001x2.png", 8, 12)
    clear_and_register(tmp_path)
    expected = {
        "set5_sr_x4": "sr_x4",
        "set5_denoise_50": "denoise_50",
        "cbsd68_denoise_70": "denoise_70",
        "imagenet_train": None,
        "div2k_train": None,
        "div2k_train_sr_x2": "sr_x2",
        "shapes_images_val": None,
        "shapes_images_val_sr_x3": "sr_x3",
        "shapes_images_val_derain": "derain",
        "shapes_images_val_denoise_30": "denoise_30",
    }
    for name, task in expected.items():
        (record,) = DatasetCatalog.get(name)
        assert record.get("task") == task, name
        assert ("degraded_file_name" in record) == ("sr" in name and "shapes" not in name)
        assert MetadataCatalog.get(name).evaluator_type == "restoration"
    for name in (
        "urban100_sr_x3",
        "b100_sr_x2",
        "set14_denoise_30",
        "div2k_val",
        "rain100l_derain",
    ):
        assert name in DatasetCatalog


def test_damaged_pair(tmp_path, scratch_catalog):
    save(tmp_path / "HR/a.png")
    (tmp_path / "LR").mkdir()
    (tmp_path / "LR/a.png").write_bytes((tmp_path / "HR/a.png").read_bytes()[:20])
    register_image_pairs("damaged", str(tmp_path / "HR"), str(tmp_path / "LR"), "own")
    with pytest.raises(UserError, match=r"cannot read image .*LR/a\.png"):
        DatasetCatalog.get("damaged")


def test_turned_pair_is_compared_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    save(tmp_path / "HR/a.jpg", 8, 12, exif=exif)
    save(tmp_path / "LR/a.png", 12, 8)
    assert load_image_pairs(str(tmp_path / "HR"), str(tmp_path / "LR"), "own")


@pytest.mark.parametrize(
    "pattern",
    ["x2", "{name}{name}", "{other}", "{name:s}", "{name!r}", "{name", "{name}{", "{{name}}", 5],
)
def test_bad_pattern(tmp_path, pattern):
    save(tmp_path / "a.png")
    with pytest.raises(UserError, match="must hold {name} once"):
        load_image_pairs(str(tmp_path), str(tmp_path), "own", clean_pattern=pattern)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        *(({"scale": scale}, "set 1, 2, 3") for scale in ("2", 0, -2, 2.0, True)),
        ({"degraded_root": []}, "without a folder: name clean_root and degraded_root"),
        ({"degraded_root": [""]}, "without a folder"),
        ({"clean_root": ""}, "without a folder"),
    ],
)
def test_bad_arguments_of_pairs(tmp_path, change, message):
    save(tmp_path / "a.png")
    arguments = {"clean_root": str(tmp_path), "degraded_root": str(tmp_path), "task": "own"}
    with pytest.raises(UserError, match=message):
        load_image_pairs(**(arguments | change))


def test_nothing_fits_the_pattern_and_two_of_a_name(tmp_path):
    save(tmp_path / "a.png")
    save(tmp_path / "a.jpg")
    with pytest.raises(UserError, match=r"no image called like rain-\*"):
        load_image_pairs(str(tmp_path), str(tmp_path), "own", clean_pattern="rain-{name}")
    with pytest.raises(UserError, match="have the same name"):
        load_image_pairs(str(tmp_path), str(tmp_path), "own")


def test_registration_reads_nothing(tmp_path, scratch_catalog):
    register_image_folder("later", str(tmp_path / "later"), task="sr_x2")
    save(tmp_path / "later/a.png")
    assert len(DatasetCatalog.get("later")) == 1
