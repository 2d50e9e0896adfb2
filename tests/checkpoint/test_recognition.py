"""A checkpoint of another model is called what it is."""

import pytest
import torch
from detectron2.modeling import build_model
from torch import nn

from d2video.checkpoint import CONVERTER_REGISTRY, VideoCheckpointer
from d2video.checkpoint.recognition import MODEL_SIGNATURES, describe_origin, recognise
from d2video.config import load_cfg
from d2video.projects import register_all
from d2video.utils.errors import UserError
from tests.helpers.systems import SYSTEMS, config_files

register_all()


@pytest.mark.parametrize("config", config_files(), ids=SYSTEMS)
def test_every_system_knows_its_own_checkpoints_and_their_official_form(config):
    model = build_model(load_cfg(str(config), ["MODEL.DEVICE", "meta"]))
    architecture = type(model).__name__
    names = model.state_dict().keys()
    assert recognise(names)[0] == (architecture, "")
    label, official = next(iter(CONVERTER_REGISTRY[architecture].items()))
    foreign = {official.name_of(name) for name in names}
    assert (architecture, label) in recognise(foreign)
    assert recognise(foreign)[0][0] == architecture
    text = describe_origin({"model": dict.fromkeys(foreign)}, architecture)
    assert text.startswith(f"these are weights of {official.description}")
    assert f"give --format {label}" in text


class Other(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Linear(2, 2)


@pytest.mark.parametrize("strict", [True, False])
def test_another_models_weights_are_named(tmp_path, strict):
    (signature,) = MODEL_SIGNATURES["VTN"]
    state = {name: torch.zeros(2) for name in signature}
    # Of the model there is a backbone, which would do as the start of a training.
    state["backbone.weight"], state["backbone.bias"] = torch.zeros(2, 2), torch.zeros(2)
    torch.save({"model": state}, tmp_path / "x.pth")
    message = "these are weights of VTN, but the model is Other: choose a config of VTN"
    with pytest.raises(UserError, match=message):
        VideoCheckpointer(Other(), strict=strict).load(str(tmp_path / "x.pth"))


def test_a_checkpoint_says_whose_it_is(tmp_path):
    VideoCheckpointer(nn.Linear(2, 2), str(tmp_path)).save("model")
    with pytest.raises(UserError, match="these are weights of Linear, but the model is Other"):
        VideoCheckpointer(Other()).load(str(tmp_path / "model.pth"))


def test_unknown_names_are_of_no_model():
    assert recognise(["conv1.weight"]) == []
    assert describe_origin({"model": {"conv1.weight": 0}, "meta_architecture": 3}, "DETR") == ""
