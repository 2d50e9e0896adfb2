"""Checks of a config that the set-prediction systems share."""

import pytest
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog

from d2video.config.checks import (
    check_class_count,
    check_counts,
    check_in_features,
    check_same_classes,
    layer_errors,
)
from d2video.config.set_prediction import add_transformer_keys
from d2video.utils.errors import UserError

NAME = "MODEL.ANY"


def test_counts():
    check_counts(CfgNode({"A": 1, "B": 0}), NAME, ["A"])
    with pytest.raises(UserError, match="MODEL.ANY.B is 0: set 1 or more"):
        check_counts(CfgNode({"A": 1, "B": 0}), NAME, ["A", "B"])


def test_in_features():
    node = CfgNode({"IN_FEATURES": ["res4", "res5"]})
    check_in_features(node, NAME, ["res3", "res4", "res5"], least=2)
    with pytest.raises(UserError, match="name 3 or more outputs"):
        check_in_features(node, NAME, ["res3", "res4", "res5"], least=3)
    with pytest.raises(UserError, match="which are res3, res4 "):
        check_in_features(node, NAME, ["res3", "res4"])


def test_same_classes():
    """Of a set whose classes are not known yet nothing is said."""
    classes = {
        "checks_train": ["a", "b"],
        "checks_more": ["a", "b", "c"],
        "checks_other": ["b", "a"],
    }
    for name, names in classes.items():
        MetadataCatalog.get(name).set(thing_classes=names)
    check_same_classes(["checks_train"], ["checks_train", "checks_unknown"])
    with pytest.raises(UserError, match="label 2 is no class in the first and 'c' in the second"):
        check_same_classes(["checks_train"], ["checks_train", "checks_more"])
    with pytest.raises(UserError, match="label 0 is 'a' in the first and 'b' in the second"):
        check_same_classes(["checks_train"], ["checks_other"])
    for name in [*classes, "checks_unknown"]:
        MetadataCatalog.remove(name)


def test_class_count():
    """Stuff counts in panoptic sets alone; of a set that says nothing yet nothing is known."""
    things = {"thing_classes": ["a", "b"], "thing_dataset_id_to_contiguous_id": {7: 0, 9: 1}}
    stuff = {"stuff_dataset_id_to_contiguous_id": {30: 2}}
    names = {"checks_things": {}, "checks_panoptic": {"evaluator_type": "coco_panoptic_seg"}}
    try:
        for name, more in names.items():
            MetadataCatalog.get(name).set(**things, **stuff, **more)
        check_class_count(["checks_things", "checks_unknown"], "KEY", 2)
        with pytest.raises(
            UserError, match="checks_things has 2 classes: set KEY to 3 or more, not 2"
        ):
            check_class_count(["checks_unknown", "checks_things"], "KEY", 2, unused=1)
        check_class_count(["checks_panoptic"], "KEY", 3)
        with pytest.raises(UserError, match="checks_panoptic has 3 classes"):
            check_class_count(["checks_panoptic"], "KEY", 2)
    finally:
        for name in (*names, "checks_unknown"):
            MetadataCatalog.pop(name)


def test_layer_errors():
    node = CfgNode()
    add_transformer_keys(node, hidden_dim=30)
    message = r"too odd: check MODEL.ANY.HIDDEN_DIM \(30\)"
    with pytest.raises(UserError, match=message), layer_errors(node, NAME):
        raise ValueError("too odd")
