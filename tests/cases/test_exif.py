"""Pictures with an EXIF orientation, whose labels count the upright or the stored pixels."""

import json
import shutil

import numpy as np
import pytest
from detectron2.data import DatasetCatalog
from PIL import Image

from d2video.cli import check
from d2video.config import load_cfg
from d2video.data import build_mapper, build_train_loader
from d2video.data.datasets.image_folder import load_image_pairs
from d2video.data.datasets.mot_split import read_sequences
from d2video.data.mappers.clip import ClipDatasetMapper
from d2video.utils.errors import BrokenFile, UserError
from d2video.video import open_video, read_rgb
from tests.helpers.mot_folders import write_sequence

_ORIENTATION = 0x0112


@pytest.fixture(autouse=True)
def switch_as_before(scratch_catalog):
    yield
    load_cfg("", [])


@pytest.fixture
def annotations(inputs):
    return inputs / "exif/annotations_of_stored_pixels.json"


def options(annotations, *more):
    files = {"json_file": str(annotations), "image_root": str(annotations.parent / "images")}
    register = json.dumps([["turned", "coco", files]])
    return ["DATASETS.REGISTER", register, "DATASETS.TRAIN", '("turned",)', *more]


def checked(capsys, annotations, *more):
    try:
        check.main(
            ["--dataset", "turned", "--num-workers", "0", "--opts", *options(annotations, *more)]
        )
        status = 0
    except SystemExit as error:
        status = error.code
    return status, capsys.readouterr().out


def stored(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def test_check_names_exif_and_the_switch(annotations, capsys):
    status, printed = checked(capsys, annotations)
    assert status == 1
    faults = [line for line in printed.splitlines() if line.startswith("fault: ")]
    assert faults
    for line in faults:
        assert "is 64x96 but its dataset says 96x64: its EXIF orientation" in line
        assert "set INPUT.EXIF_ORIENTATION False" in line
    status, printed = checked(capsys, annotations, "INPUT.EXIF_ORIENTATION", "False")
    assert (status, "no faults" in printed) == (0, True)


@pytest.mark.parametrize("mapper", ["ImageDatasetMapper", "DatasetMapper"])
def test_training_and_testing_obey_the_switch(annotations, mapper):
    given = options(annotations, "INPUT.DATASET_MAPPER", mapper, "INPUT.FORMAT", "RGB")
    resized = [
        "INPUT.MIN_SIZE_TEST",
        "0",
        "INPUT.AUGMENTATIONS",
        "[]",
        "INPUT.MIN_SIZE_TRAIN",
        "(0,)",
    ]
    for train in (True, False):
        cfg = load_cfg("", [*given, *resized])
        record = DatasetCatalog.get("turned")[0]
        with pytest.raises(
            BrokenFile, match=r"EXIF orientation \d turns it.*EXIF_ORIENTATION False"
        ):
            build_mapper(cfg, train)(record)
        cfg = load_cfg("", [*given, *resized, "INPUT.EXIF_ORIENTATION", "False"])
        image = build_mapper(cfg, train)(record)["image"].permute(1, 2, 0).numpy()
        flipped = image[:, ::-1]  # detectron2's mapper flips in training
        assert any(np.array_equal(each, stored(record["file_name"])) for each in (image, flipped))


@pytest.mark.parametrize("workers", [0, 1])
def test_workers_obey_the_switch(annotations, workers):
    given = options(annotations, "INPUT.DATASET_MAPPER", "ImageDatasetMapper")
    cfg = load_cfg("", [*given, "INPUT.EXIF_ORIENTATION", "False", "SOLVER.IMS_PER_BATCH", "1"])
    cfg.merge_from_list(["DATALOADER.NUM_WORKERS", workers, "DATALOADER.MAX_RETRIES", 0])
    assert next(iter(build_train_loader(cfg)))[0]["width"] == 96


def picture(path, orientation, size=(4, 6)):
    """Of this (height, width) as stored."""
    exif = Image.Exif()
    exif[_ORIENTATION] = orientation
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, exif=exif)
    return pixels


@pytest.mark.parametrize("orientation", range(1, 9))
def test_prediction_obeys_the_switch(tmp_path, orientation):
    pixels = picture(tmp_path / "a.png", orientation)
    for used, turned in (("True", orientation > 1), ("False", False)):
        load_cfg("", ["INPUT.EXIF_ORIENTATION", used])
        assert np.array_equal(read_rgb(tmp_path / "a.png"), pixels) != turned
        (frame,) = open_video(tmp_path)
        assert (frame.image.shape[:2] == (6, 4)) == (turned and orientation > 4)


def coco(folder, sizes):
    """A set whose pictures ``<k>.png`` have these stated (height, width) and one object each."""
    images = [
        {"id": k, "file_name": f"{k}.png", "height": h, "width": w}
        for k, (h, w) in enumerate(sizes, 1)
    ]
    box = {"category_id": 1, "iscrowd": 0, "bbox": [0, 0, 2, 2], "area": 4}
    content = {
        "categories": [{"id": 1, "name": "a"}],
        "images": images,
        "annotations": [{**box, "id": k, "image_id": k} for k in range(1, len(sizes) + 1)],
    }
    (folder / "images").mkdir()
    (folder / "a.json").write_text(json.dumps(content))
    return folder / "a.json"


@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_turned_picture_tells_by_its_size(tmp_path, capsys, orientation):
    """Labels of the upright image are sound, those of the stored pixels a fault; where the size is the
    same there is a doubt."""
    path = coco(tmp_path, [(6, 4)])
    picture(tmp_path / "images/1.png", orientation)
    status, printed = checked(capsys, path)
    if orientation > 4:
        assert (status, "no faults" in printed) == (0, True)
        path.write_text(
            path.read_text().replace('"height": 6, "width": 4', '"height": 4, "width": 6')
        )
        status, printed = checked(capsys, path)
        assert (status, "EXIF_ORIENTATION False" in printed, "doubt" in printed) == (1, True, False)
        return
    path.write_text(path.read_text().replace('"height": 6, "width": 4', '"height": 4, "width": 6'))
    status, printed = checked(capsys, path)
    assert (status, "no size tells" in printed, "no faults, 1 doubt" in printed) == (1, True, True)


def test_a_square_is_doubted_unless_another_picture_tells(tmp_path, capsys):
    path = coco(tmp_path, [(5, 5), (6, 4)])
    picture(tmp_path / "images/1.png", 6, (5, 5))
    picture(tmp_path / "images/2.png", 1, (6, 4))
    status, printed = checked(capsys, path)
    assert (status, "1 images, such as" in printed) == (1, True)
    picture(tmp_path / "images/2.png", 8)
    status, printed = checked(capsys, path)
    assert (status, "doubt" in printed) == (0, False)


def test_the_switch_is_named_where_it_is_wrong(annotations, tmp_path):
    record = {"video_id": 1, "height": 96, "width": 64, "length": 1}
    record["file_names"] = [str(annotations.parent / "images/000000000001.jpg")]
    load_cfg("", ["INPUT.EXIF_ORIENTATION", "False"])
    with pytest.raises(BrokenFile, match="is ignored.*set INPUT.EXIF_ORIENTATION True"):
        list(ClipDatasetMapper(False, augmentations=[])(record)["image"])


def test_a_pair_of_which_one_is_turned(tmp_path):
    for name in ("clean", "noisy"):
        (tmp_path / name).mkdir()
        picture(tmp_path / name / "a.png", 6 if name == "clean" else 1)
    shutil.copy(tmp_path / "noisy/a.png", tmp_path / "noisy/b.png")
    shutil.copy(tmp_path / "noisy/a.png", tmp_path / "clean/b.png")
    found = []
    load_image_pairs(str(tmp_path / "clean"), str(tmp_path / "noisy"), "mine", report=found.append)
    (fault,) = found
    assert "EXIF orientation 6 turns it" in str(fault)


def test_a_sequence_whose_seqinfo_states_the_stored_size(tmp_path):
    folder = write_sequence(tmp_path / "A", length=2, size=(4, 6), gt=None)
    for t in (1, 2):
        picture(folder / f"img1/{t:06d}.png", 6)
    with pytest.raises(UserError, match="says 6x4: its EXIF orientation 6 turns it"):
        read_sequences(str(tmp_path))
    load_cfg("", ["INPUT.EXIF_ORIENTATION", "False"])
    (sequence,) = read_sequences(str(tmp_path))
    assert sequence.size == (4, 6)
