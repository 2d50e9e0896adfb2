"""Result files: the validator, the writer and the tool."""

import copy
import json
import zipfile

import numpy as np
import pycocotools.mask as coco_mask
import pytest

from d2video.cli.evaluate import main as evaluate
from d2video.evaluation.result_files import read_results
from d2video.evaluation.vis.ground_truth import YTVISGroundTruth
from d2video.evaluation.vis.results import check_results, write_results
from d2video.formats.geometry.rle_checks import decode_counts
from d2video.utils.errors import UserError
from tests.helpers import GOLDEN
from tests.helpers.ytvis_sets import load_json, repaired_set_c, small_annotations


def _entries() -> list[dict]:
    masks = small_annotations()["annotations"][0]["segmentations"]
    return [
        {"video_id": v, "category_id": 3, "score": 0.5, "segmentations": copy.deepcopy(masks)}
        for v in (1, 2)
    ]


TRUTH = YTVISGroundTruth.from_dict(small_annotations(), source="labels.json")


def test_sound_files_pass():
    check_results(_entries(), TRUTH)
    check_results([], TRUTH)
    annotations, results = repaired_set_c()
    check_results(results, YTVISGroundTruth.from_dict(annotations))


def _second(**fields):
    return [_entries()[0], {**_entries()[1], **fields}]


def _frame_2(mask):
    return _second(segmentations=[_entries()[0]["segmentations"][0], None, mask])


CODE = _entries()[0]["segmentations"][0]["counts"]


@pytest.mark.parametrize(
    ("results", "message"),
    [
        ({}, "must be a list of entries, not an object"),
        ([*_entries(), 3], "entry 2: must be an object"),
        ([{"video_id": 1}], "entry 0: the field category_id is missing"),
        (_second(video_id=7), "entry 1, video_id: 7 is not in labels.json"),
        (_second(video_id="1"), "entry 1, video_id: must be a whole number, not a text"),
        (
            _second(video_id=1.0),
            r"entry 1, video_id: must be a whole number, not a number \(1\.0\)",
        ),
        (_second(video_id=True), r"entry 1, video_id: must be a whole number, not true"),
        (
            [{"image_id": 1}],
            r"entry 0: the field video_id is missing \(it has image_id, as other results have",
        ),
        (_second(category_id=4), "entry 1, category_id: 4 is not in"),
        (_second(category_id="three"), "category_id: 'three' is the name of category 3; write its"),
        (_second(score=True), "entry 1, score: must be a number, not true"),
        (_second(score=float("nan")), "entry 1, score: must be finite"),
        (_second(segmentations=None), "entry 1, segmentations: must be a list, not null"),
        (_second(segmentations=[None]), "entry 1, segmentations: 1 entries, but video 2 has 3"),
        (
            _frame_2([[1, 2, 3, 4, 5, 6]]),
            r"frame 2: a mask is null or .*, not polygons: write them",
        ),
        (
            _frame_2([{"size": [20, 30], "counts": CODE}]),
            r"frame 2: .*\(RLE\) within a list: write",
        ),
        (
            _frame_2(json.dumps({"size": [20, 30], "counts": CODE})),
            "frame 2: .* a text that holds JSON",
        ),
        (_frame_2({"size": [30, 20], "counts": CODE}), r"frame 2: the mask's size is \[30, 20\]"),
        (_frame_2({"size": [20, 30], "counts": [600]}), "frame 2: 'counts' must be a string"),
        (_frame_2({"size": [20, 30], "counts": CODE[:-2]}), "frame 2: the runs of 'counts' cover"),
        (
            _frame_2({"size": [20, 30], "counts": CODE[:-1] + "R"}),
            "frame 2: 'counts' is not a COCO",
        ),
        (_frame_2({"size": [20, 30], "counts": ""}), "frame 2: 'counts' is not a COCO"),
        (_frame_2({"size": [20, 30], "counts": "é" + CODE}), "frame 2: 'counts' is not a COCO"),
        (_frame_2({"size": [20, 30], "counts": "o" * 40}), "frame 2: 'counts' is not a COCO"),
        (_frame_2({"size": [20, 30], "counts": "Oi0g1"}), "frame 2: 'counts' holds a run of neg"),
    ],
)
def test_the_first_fault_is_named_with_its_place(results, message):
    with pytest.raises(UserError, match=message):
        check_results(results, TRUTH)


def test_an_earlier_frame_is_named_first():
    masks = _entries()[0]["segmentations"]
    masks[0]["counts"] = masks[0]["counts"][:-2]
    masks[2]["size"] = [1, 1]
    with pytest.raises(UserError, match="frame 0"):
        check_results(_second(segmentations=masks), TRUTH)


@pytest.mark.parametrize("entry", [1, 2, 4, 5, 18])
def test_faults_of_golden_set_c(entry):
    annotations, _ = repaired_set_c()
    faulty = load_json("ytvis_c_results.json")[entry - 1 : entry]
    with pytest.raises(UserError, match=r"entry 0, (segmentations|category_id)"):
        check_results(faulty, YTVISGroundTruth.from_dict(annotations))


def test_codes_are_decoded_as_pycocotools_does():
    rng = np.random.default_rng(0)
    masks = rng.random((40, 700, 9)) < rng.choice([0.0, 0.002, 0.5, 1.0], (40, 1, 1))
    codes = [coco_mask.encode(np.asfortranarray(mask.astype(np.uint8))) for mask in masks]
    counts, per_code, well_formed = decode_counts([code["counts"] for code in codes])
    assert well_formed.all()
    for mask, row in zip(masks, np.split(counts, np.cumsum(per_code)[:-1])):
        values = np.arange(len(row)) % 2 == 1
        np.testing.assert_array_equal(np.repeat(values, row).reshape(9, 700).T, mask)


def test_files_are_whole_or_absent(tmp_path):
    entries = _entries()
    for entry in entries:
        for mask in entry["segmentations"]:
            if mask:
                mask["counts"] = mask["counts"].encode()
    path = write_results(entries, tmp_path / "new" / "folder")
    assert read_results(path) == read_results(path.with_suffix(".zip")) == _entries()
    assert zipfile.ZipFile(path.with_suffix(".zip")).namelist() == ["results.json"]

    def fail():
        yield entries[0]
        raise RuntimeError("the process ends here")

    with pytest.raises(RuntimeError):
        write_results(fail(), tmp_path / "broken")
    assert list((tmp_path / "broken").iterdir()) == []


def test_unreadable_files(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        read_results(tmp_path / "none.json")
    for name, message in (("a.json", "not JSON"), ("a.zip", "not a valid zip")):
        (tmp_path / name).write_text("[{")
        with pytest.raises(UserError, match=message):
            read_results(tmp_path / name)
    with zipfile.ZipFile(tmp_path / "nested.zip", "w") as archive:
        archive.writestr("folder/results.json", "[]")
    with pytest.raises(UserError, match=r"holds folder/results\.json but no results\.json"):
        read_results(tmp_path / "nested.zip")


@pytest.mark.usefixtures("scratch_catalog", "loggers_as_before")
def test_files_of_any_program_are_scored(tmp_path, capsys):
    labels, results = str(GOLDEN / "ytvis_a_gt.json"), str(GOLDEN / "ytvis_a_results.json")
    evaluate([results, "--data", labels, "--json", str(tmp_path / "figures.json")])
    assert "63 tracks in 9 of 11 videos" in capsys.readouterr().out
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["results_file"] == results
    (found,) = figures["results"].values()
    expected = load_json("ytvis_expected.json")["a/results"]["stats"]
    assert found["segm"]["AP"] == pytest.approx(100 * expected["AP"], abs=1e-10)
    entries = load_json("ytvis_a_results.json")
    entries[5]["segmentations"].pop()
    (tmp_path / "short.json").write_text(json.dumps(entries))
    with pytest.raises(SystemExit) as ended:
        evaluate([str(tmp_path / "short.json"), "--data", labels])
    assert ended.value.code == 1
    assert "short.json: entry 5, segmentations" in capsys.readouterr().err
