"""DETR files of Hugging Face transformers load directly and answer as there."""

import pytest
import torch
from d2video.projects.detr.converter import foreign_name
from detectron2.modeling import build_model
from safetensors.torch import load_file

from d2video.checkpoint import VideoCheckpointer
from tests.helpers.hugging_face import hub_images, hub_model, saved, small_cfg

MASKS = ["MODEL.MASK_ON", True]


def loaded(path, *opts):
    model = build_model(small_cfg("DETR/detr_R50_500ep", *opts))
    VideoCheckpointer(model, strict=True).load(str(path))
    return model.eval()


@torch.no_grad()
def check_same_answers(theirs, ours):
    images, padding = hub_images()
    expected = theirs(pixel_values=images, pixel_mask=(~padding).long())
    found = ours.network(images, padding, all_layers=False)
    assert (found.logits[-1] - expected.logits).abs().max() < 1e-4
    assert (found.boxes[-1] - expected.pred_boxes).abs().max() < 1e-5
    return expected, found


@pytest.mark.parametrize("original", [True, False], ids=["release 4", "release 5"])
def test_detection(tmp_path, original):
    theirs = hub_model("DetrForObjectDetection")
    check_same_answers(theirs, loaded(saved(theirs, tmp_path, save_original_format=original)))


@pytest.mark.parametrize("original", [True, False], ids=["release 4", "release 5"])
def test_masks(tmp_path, original):
    theirs = hub_model("DetrForSegmentation")
    ours = loaded(saved(theirs, tmp_path, save_original_format=original), *MASKS)
    expected, found = check_same_answers(theirs, ours)
    image, query = torch.meshgrid(torch.arange(2), torch.arange(5), indexing="ij")
    masks = found.masks(image.flatten(), query.flatten())
    assert (masks - expected.pred_masks.flatten(0, 1)).abs().max() < 1e-4


def test_a_backbone_of_timm_and_a_pickled_file(tmp_path):
    """The names of timm's ResNet are torchvision's; older files on the Hub are pytorch_model.bin."""
    theirs = hub_model("DetrForObjectDetection")
    path = saved(theirs, tmp_path)
    ours = loaded(path)
    prefix = "model.backbone.conv_encoder.model."
    state = {n: v for n, v in load_file(path).items() if not n.startswith(prefix)}
    for name, value in ours.state_dict().items():
        if name.startswith("network.backbone."):
            state[prefix + foreign_name(name).removeprefix("backbone.0.body.")] = value
    state[f"{prefix}bn1.num_batches_tracked"] = torch.tensor(0)
    torch.save(state, tmp_path / "pytorch_model.bin")
    again = loaded(tmp_path / "pytorch_model.bin").state_dict()
    assert all(torch.equal(again[name], value) for name, value in ours.state_dict().items())
