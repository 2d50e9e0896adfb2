"""Checks of a config that the set-prediction systems share."""

import pytest
from detectron2.config import CfgNode

from d2video.config.checks import (
    check_counts,
    check_in_features,
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
    with pytest.raises(UserError, match=r"IN_FEATURES is \[\['res4'\]\]: name 1 or more"):
        check_in_features(CfgNode({"IN_FEATURES": [["res4"]]}), NAME, ["res4"])


def test_layer_errors():
    node = CfgNode()
    add_transformer_keys(node, hidden_dim=30)
    message = r"too odd: check MODEL.ANY.HIDDEN_DIM \(30\)"
    with pytest.raises(UserError, match=message), layer_errors(node, NAME):
        raise ValueError("too odd")
