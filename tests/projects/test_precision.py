"""TEST.PRECISION, in every system: lower in the heavy parts, float32 around them, and only at inference."""

import copy

import pytest
import torch
from detectron2.modeling import build_model
from detectron2.utils.events import EventStorage
from torch import nn

from d2video.modeling.set_prediction import SetPredictionModel
from d2video.utils.errors import UserError
from tests.helpers.streams import MODELS, frames_of, streaming_model, tensors_of
from tests.helpers.systems import SYSTEMS
from tests.projects.DETR.tiny import make_image
from tests.projects.DETR.tiny import tiny_cfg as tiny_detr

# bfloat16 keeps 8 bits of a number. After the few layers of these models boxes and probabilities, in [0, 1],
# differ by up to 0.01 and 0.004, and pixels of a network of random weights by 0.05 of the largest. float16
# keeps 11 bits: an eighth.
CLOSE = {"boxes": 0.02, "scores": 0.01, "pixels": 0.1}
FINER = {"bfloat16": 1, "float16": 8}


def stream(model: nn.Module) -> tuple[dict[str, torch.Tensor], list[dict[str, torch.Tensor]]]:
    """Numbers before any of them is left out, of the first frame or clip; and the answers."""
    found = {}

    def note(network: nn.Module, _: tuple, output) -> None:
        if "boxes" not in found:
            found["boxes"] = output.boxes[-1]
            found["scores"] = model.criterion.class_loss.probabilities(output.logits[-1])

    if isinstance(model, SetPredictionModel):
        model.network.register_forward_hook(note)
    answers = [tensors_of(answer) for answer in model.stream_video(iter(frames_of(3)), (64, 96))]
    if "class_scores" in answers[0]:
        found["scores"] = answers[-1]["class_scores"]
    elif "restored" in answers[0]:
        found["pixels"] = answers[-1]["restored"] / 800  # the largest of them
    return found, answers


@pytest.mark.parametrize(
    ("system", "index", "precision"),
    [*((*model, "bfloat16") for model in MODELS), ("DETR", 0, "float16"), ("VTN", 1, "float16")],
)
def test_answers_are_float32_and_close(system, index, precision):
    exact, _ = stream(streaming_model(system, index))
    found, answers = stream(streaming_model(system, index, "TEST.PRECISION", precision))
    assert exact.keys() == found.keys()
    for name, values in exact.items():
        assert not torch.equal(found[name], values), f"{name}: not another precision"
        torch.testing.assert_close(found[name], values, rtol=0, atol=CLOSE[name] / FINER[precision])
    types = {tensor.dtype for answer in answers for tensor in answer.values()}
    assert {each for each in types if each.is_floating_point} == {torch.float32}


@pytest.mark.parametrize("system", SYSTEMS)
def test_by_default_no_forward_is_changed(system):
    model = streaming_model(system, 0)
    assert not any("forward" in vars(module) for module in model.modules())


def test_training_does_not_see_it():
    """Nor do frozen parts in a training; an evaluation in between does."""
    losses, boxes = [], []
    for precision in ("float32", "bfloat16"):
        torch.manual_seed(0)
        frozen = ("MODEL.MASK_ON", True, "MODEL.DETR.FREEZE_DETECTOR", True)
        model = build_model(tiny_detr(*frozen, "TEST.PRECISION", precision)).train()
        assert not model.network.backbone.training
        boxes.append(model.eval()([make_image()])[0]["instances"].pred_boxes.tensor)
        with EventStorage():
            losses.append(model.train()([make_image()]))
    assert losses[0] == losses[1]
    assert not torch.equal(*boxes)


def test_a_copy_runs_its_own_weights():
    model = streaming_model("DETR", 0, "TEST.PRECISION", "bfloat16")
    other = copy.deepcopy(model)
    nn.init.zeros_(model.network.backbone.stem.conv1.weight)
    found = [stream(each)[0]["scores"] for each in (model, other)]
    assert not torch.equal(*found)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (["TEST.PRECISION", "half"], "is 'half': choose float32, bfloat16 or float16"),
        # Autocast of CUDA without a GPU: torch warns, and would compute in float32.
        (["TEST.PRECISION", "float16", "MODEL.DEVICE", "cuda"], "does not have on cuda here"),
    ],
)
@pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA stands for a device without autocast")
def test_what_cannot_be_is_refused(keys, message):
    with pytest.raises(UserError, match=message):
        build_model(tiny_detr(*keys))
