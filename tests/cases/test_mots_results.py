"""``mots/results_bytes_literal.txt`` and its kind: what stands where a run-length code should be is named."""

import json
import shutil

import pytest

from d2video.evaluation.vis.ground_truth import YTVISGroundTruth
from d2video.formats.geometry.segmentation import find_segmentation_faults
from d2video.utils.errors import UserError
from tests.helpers.mot_folders import evaluate_results


@pytest.mark.usefixtures("scratch_catalog", "loggers_as_before")
def test_bytes_literals_in_results(inputs, pictures, tmp_path, capsys):
    shutil.copytree(pictures / "shapes_mots" / "val" / "val-0001", tmp_path / "val" / "val-0001")
    (tmp_path / "results").mkdir()
    shutil.copyfile(
        inputs / "mots" / "results_bytes_literal.txt", tmp_path / "results" / "val-0001.txt"
    )
    with pytest.raises(SystemExit):
        evaluate_results(tmp_path / "results", tmp_path / "val")
    told = capsys.readouterr().err
    assert "val-0001.txt, line 1: 'counts' is a Python bytes literal, \"b'_W33l12N1N" in told
    assert "write the text that counts.decode() gives" in told


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ("b'd0d0X1'", "is a Python bytes literal, .*: write the text that counts.decode"),
        ('b"d0d0X1"', "is a Python bytes literal"),
        (b"b'd0d0X1'", "is a Python bytes literal"),
        ("'d0d0X1'", "is in quotation marks, .*: write it without them"),
        ("b'd0d0X1", "is not a COCO run-length code"),
    ],
)
def test_codes_that_are_quoted(counts, message):
    [(_, fault)] = find_segmentation_faults([{"size": [8, 10], "counts": counts}], 8, 10)
    assert message.split(",")[0] in fault


def test_bytes_literals_in_labels_of_videos(tmp_path):
    rle = {"size": [8, 10], "counts": "b'd0d0X1'"}
    video = {"id": 1, "file_names": ["a.png"], "length": 1, "height": 8, "width": 10}
    annotation = {"id": 1, "video_id": 1, "category_id": 1, "iscrowd": 0, "segmentations": [rle]}
    annotation |= {"bboxes": [[1, 1, 5, 5]], "areas": [4]}
    content = {"videos": [video], "annotations": [annotation]}
    path = tmp_path / "labels.json"
    path.write_text(json.dumps(content | {"categories": [{"id": 1, "name": "thing"}]}))
    with pytest.raises(UserError, match="annotation 1.* is a Python bytes literal"):
        YTVISGroundTruth.from_json(str(path))
