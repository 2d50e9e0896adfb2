"""COCO panoptic: one verdict of check, training and evaluation; crowds and unlabelled images counted."""

import json

import numpy as np
import pytest
from PIL import Image

from d2video.cli.check import main as check
from d2video.data.loading import load_records
from d2video.utils.errors import UserError
from tests.helpers.coco_sets import HEIGHT, WIDTH, register_panoptic, write_images
from tests.helpers.verdicts import check_agrees


@pytest.fixture
def judge(tmp_path, scratch_catalog, capsys):
    """Let check, training and evaluation judge a changed file; give what check prints."""
    write_images(tmp_path)
    ids = np.full((HEIGHT, WIDTH), 7)
    ids[5:] = 300
    segments = [{"id": 7, "category_id": 4, "iscrowd": 0}, {"id": 300, "category_id": 100}]
    path = register_panoptic("mine", tmp_path, {5: (ids, segments), 2: (ids, segments)})
    content = json.loads(path.read_text())

    def run(alter):
        alter(content)
        path.write_text(json.dumps(content))
        check_agrees("mine")
        capsys.readouterr()
        check(["--dataset", "mine", "--num-workers", "0"])
        return capsys.readouterr().out

    return run


def segment(**fields):
    return lambda content: content["annotations"][0]["segments_info"][0].update(fields)


def category(**fields):
    return entry("categories", **fields)


def entry(key, **fields):
    return lambda content: content[key][0].update(fields)


@pytest.mark.parametrize(
    ("alter", "left_out"),
    [
        (segment(iscrowd=1), "mine.json: 3 of 4 segments are used; left out: 1 with iscrowd 1"),
        (segment(iscrowd=None), ""),
        (segment(area=None, bbox=[0, 0, 0, 0]), ""),  # nothing reads them
        (
            lambda content: content["images"].append({"id": 9, "file_name": "9.jpg"}),
            "mine.json: 2 of 3 images are used; left out: 1 without an annotation",
        ),
        (lambda content: content.pop("images"), ""),
        (entry("images", height=HEIGHT, width=WIDTH), ""),
    ],
)
def test_used_or_left_out(alter, left_out, judge):
    printed = judge(alter)
    assert left_out in printed
    assert ("left out" in printed) == bool(left_out)


@pytest.mark.parametrize(
    ("alter", "message"),
    [
        (segment(iscrowd=2), "annotation of image 5: the iscrowd of segment 7 must be 0 or 1"),
        (segment(iscrowd="0"), "annotation of image 5: the iscrowd of segment 7 must be 0 or 1"),
        (segment(id=8), "segment 8 (of the annotation file )?(has no pixels|: it is in the annot)"),
        (segment(id=7.0), "the id 7.0 of a segment is not"),
        (segment(id="7"), "the id '7' of a segment is not"),
        (
            segment(category_id=True),
            "category id true is not in its categories",
        ),
        (category(isthing="yes"), "category 4: it has no isthing, 1 or 0"),
        (category(isthing=2), "category 4: it has no isthing, 1 or 0"),
        (category(name="grass"), "category 100: its name, 'grass', is there twice"),
        (category(id=True), "category true: its id must be a whole number"),
        (
            entry("annotations", image_id=9),
            "annotation of image 9: its image_id is not the id of an",
        ),
        (entry("annotations", image_id="a"), "annotation of image a: its image_id, 'a', is not a"),
        (entry("annotations", image_id=5.0), r"its image_id, 5\.0, is not a whole number"),
        (entry("images", id=2), "image 2: its id is there twice"),
        (entry("images", height=WIDTH, width=HEIGHT), "jpg is 32x24 but its dataset says 24x32"),
        (entry("images", height=HEIGHT), "image 5: its size, nullx24, must be whole numbers"),
        (entry("images", height=0, width=WIDTH), "image 5: "),
        (entry("images", id=1.5), r"image 1\.5: its id, 1\.5, must be a whole number"),
        (
            entry("images", file_name="../5.jpg"),
            "image 5: .* lies outside the folder of the images",
        ),
        (lambda content: content["annotations"].clear(), "has no annotations of images"),
        (
            lambda content: [
                s.update(iscrowd=1) for a in content["annotations"] for s in a["segments_info"]
            ],
            "0 of 4 segments are used; left out: 4 with iscrowd 1: nothing is left",
        ),
    ],
)
def test_refused(alter, message, judge):
    with pytest.raises(UserError, match=message):
        judge(alter)


def test_images_are_found_by_their_own_names(judge, tmp_path):
    (tmp_path / "5.jpg").rename(tmp_path / "five.jpeg")
    judge(entry("images", file_name="five.jpeg"))
    (record, _) = load_records("mine")
    assert record["file_name"] == str(tmp_path / "five.jpeg")


def test_a_label_image_of_two_images_is_doubted(judge, capsys):
    with pytest.raises(SystemExit):
        judge(entry("annotations", file_name="./2.png"))
    assert "1 label images belong to several annotations (the first is 2.png)" in (
        capsys.readouterr().out
    )


def test_label_images_of_stored_pixels_name_exif(judge, tmp_path):
    with Image.open(tmp_path / "5.jpg") as image:
        exif = image.getexif()
        exif[0x0112] = 6
        image.save(tmp_path / "5.jpg", exif=exif)
    with pytest.raises(UserError, match="but its label image .* its EXIF orientation 6 turns it"):
        judge(lambda content: None)
