"""Masks that begin as products of queries and pixels (QUERY_MASKS)."""

import pytest
import torch
import torch.nn.functional as F
from detectron2.modeling import build_model
from detectron2.utils.events import EventStorage

from d2video.modeling.criterion import QueryMaskLoss, SetCriterion
from d2video.modeling.mask_head import MHAttentionMap, coarse_masks
from d2video.modeling.matcher import Matches
from d2video.modeling.predictions import Encoded, Predictions
from d2video.modeling.targets import ImageTargets
from tests.projects.DETR.tiny import make_image
from tests.projects.DETR.tiny import tiny_cfg as tiny_detr
from tests.projects.VisTR.tiny import make_clip
from tests.projects.VisTR.tiny import tiny_cfg as tiny_vistr

SYSTEMS = {
    "DETR": lambda: (
        tiny_detr("MODEL.MASK_ON", True, "MODEL.DETR.QUERY_MASKS", True),
        [make_image(width=120), make_image(33, 70, 1)],
    ),
    "VisTR": lambda: (
        tiny_vistr("MODEL.VISTR.QUERY_MASKS", True),
        [make_clip(), make_clip(seed=1)],
    ),
}


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_parameter_learns_and_every_layer_has_a_loss_of_its_masks(system):
    torch.manual_seed(0)
    cfg, batch = SYSTEMS[system]()
    model = build_model(cfg)
    with EventStorage():
        losses = model(batch)
    sum(losses.values()).backward()
    without = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []
    layers = len(model.network.transformer.decoder.layers)
    assert sum(name.startswith("loss_query_dice") for name in losses) == layers


@pytest.mark.parametrize("system", SYSTEMS)
def test_before_training_the_head_changes_nothing(system):
    torch.manual_seed(0)
    cfg, _batch = SYSTEMS[system]()
    network = build_model(cfg).network.train()
    images = torch.randn(2, 3, 64, 96)
    if system == "VisTR":
        images = images[:, None].repeat(1, network.num_frames, 1, 1, 1)
    predictions = network(images, None)
    rows = torch.tensor([0, 1, 1]), torch.tensor([0, 0, 2])
    masks = predictions.masks(*rows)
    coarse = predictions.coarse_masks[-1][rows]
    wanted = F.interpolate(coarse[:, None], size=masks.shape[-2:], mode="bilinear")[:, 0]
    torch.testing.assert_close(masks, wanted)


def test_coarse_masks_compare_a_query_with_its_own_frame():
    torch.manual_seed(0)
    layers, batch, frames, slots, width = 2, 2, 3, 4, 8
    attention = MHAttentionMap(width, 2, use_positions=True, query_masks=True)
    memory, positions = torch.randn(2, batch * frames, 5, 6, width).unbind()
    outputs = torch.randn(layers, batch, frames * slots, width)
    encoded = Encoded(outputs, memory, memory, None, [], positions)
    masks = coarse_masks(attention, outputs, encoded)
    assert masks.shape == (layers, batch, frames * slots, 5, 6)
    query = attention.q_linear(outputs[1, 1, 2 * slots + 3]) * attention.scale
    pixels = attention.k_linear((memory + positions)[1 * frames + 2])
    torch.testing.assert_close(masks[1, 1, 2 * slots + 3], pixels @ query - 2)


def loss_of(logits: torch.Tensor, mask: torch.Tensor) -> dict[str, torch.Tensor]:
    """Of a mask as large as two cells by two of 4×4 pixels, in two layers; the target has no other."""
    predictions = Predictions(
        torch.zeros(2, 1, 1, 2), torch.rand(2, 1, 1, 4), coarse_masks=logits.view(2, 1, 1, 2, 2)
    )
    targets = [ImageTargets(torch.zeros(1, dtype=torch.int64), torch.rand(1, 4), mask[None])]
    zero = torch.zeros(2, dtype=torch.int64)
    matches = Matches(torch.arange(2), zero, zero, zero)
    return SetCriterion(1, losses=[QueryMaskLoss(3.0, 5.0)])(predictions, matches, targets)


def test_a_cell_is_as_sure_as_its_share_of_the_mask():
    """Half of the upper left cell is in the mask: the least cross-entropy is at a logit of 0."""
    mask = torch.zeros(8, 8, dtype=torch.bool)
    mask[:4, :2] = True
    shares = torch.tensor([[0.0, -50, -50, -50], [1.0, -50, -50, -50]])
    losses = loss_of(shares, mask)
    entropy = torch.log(torch.tensor(2.0)) / 4
    torch.testing.assert_close(losses["loss_query_mask_0"], 3 * entropy)
    assert losses["loss_query_mask"] > losses["loss_query_mask_0"]
    # 1 - (2 · 0.5 · 0.5 + 1) / (0.5 + 0.5 + 1)
    torch.testing.assert_close(losses["loss_query_dice_0"], torch.tensor(5 * 0.25))
