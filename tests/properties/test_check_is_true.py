"""The comparison of check_dataset's verdict with that of training and evaluation fails in both directions.

The inputs that it is tried on are those of tests/fuzz/targets_check.py.
"""

import json

import pytest
from detectron2.data.datasets import register_coco_instances

from d2video.cli import dataset_check
from d2video.evaluation.coco import COCOInstanceEvaluator
from d2video.formats.faults import Doubt, Fault
from d2video.utils.errors import UserError
from tests.helpers import coco_sets
from tests.helpers.verdicts import check_agrees


@pytest.fixture
def content(tmp_path, scratch_catalog):
    coco_sets.write_images(tmp_path)
    register_coco_instances("judged", {}, str(tmp_path / "a.json"), str(tmp_path))
    return coco_sets.instance_content()


def judge(tmp_path, content):
    (tmp_path / "a.json").write_text(json.dumps(content))
    check_agrees("judged")


def test_both_agree(tmp_path, content):
    judge(tmp_path, content)
    content["annotations"][0]["category_id"] = 77
    with pytest.raises(UserError, match="77"):
        judge(tmp_path, content)


def test_a_check_that_overlooks_a_broken_picture(tmp_path, content, monkeypatch):
    (tmp_path / "9.jpg").write_bytes(b"")
    with pytest.raises(UserError, match="9.jpg"):
        judge(tmp_path, content)
    monkeypatch.setattr(dataset_check, "check_records", lambda *_: [])
    with pytest.raises(AssertionError, match="check finds nothing, but: cannot read.*9.jpg"):
        judge(tmp_path, content)


def test_an_evaluator_that_loses_an_object(tmp_path, content, monkeypatch):
    build = COCOInstanceEvaluator.__init__

    def with_an_object_more(self, *arguments):
        build(self, *arguments)
        api = self._coco_api
        extra = {**api.anns[1], "id": 99, "bbox": [1, 1, 3, 3]}
        api.dataset["annotations"].append(extra)
        api.createIndex()

    monkeypatch.setattr(COCOInstanceEvaluator, "__init__", with_an_object_more)
    with pytest.raises(AssertionError, match="check finds nothing, but: a perfect answer has AP"):
        judge(tmp_path, content)


@pytest.mark.parametrize("kind", [Fault, Doubt])
def test_a_check_that_invents(tmp_path, content, monkeypatch, kind):
    """A fault must be one; a doubt may be wrong."""
    found = Fault("a", "file", None, "invented") if kind is Fault else Doubt("a", "invented")
    monkeypatch.setattr(dataset_check, "check_records", lambda *_: [found])
    if kind is Doubt:
        judge(tmp_path, content)
        return
    with pytest.raises(AssertionError, match="it trains and scores, but check: invented"):
        judge(tmp_path, content)


def test_nothing_to_score_has_no_score(tmp_path, content):
    """A score of nan would not be the best."""
    content["annotations"] = []
    judge(tmp_path, content)
