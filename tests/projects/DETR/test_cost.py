"""What an image costs, counted on the meta device: no arithmetic is done, so figures are exact.

Official figures (fact sheet, section 2.1): 800×1066, two operations a multiply-add.
"""

import pytest
import torch
from detectron2.modeling import build_model
from torch.utils.flop_counter import FlopCounterMode

from d2video.config import load_cfg
from d2video.projects import register_all


def build(config: str):
    register_all()
    return build_model(load_cfg(f"configs/DETR/{config}.yaml", ["MODEL.DEVICE", "meta"])).eval()


@pytest.mark.parametrize(
    ("config", "total", "trainable"),
    [("detr_R50_500ep", 41.525, 41.302), ("detr_R101_500ep", 60.465, 60.242)],
)
def test_parameters_are_the_official_ones(config, total, trainable):
    model = build(config)
    assert round(sum(p.numel() for p in model.parameters()) / 1e6, 3) == total
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert round(trained / 1e6, 3) == trainable


def gflops(config: str) -> float:
    model = build(config).requires_grad_(False)
    image = torch.empty(1, 3, 800, 1066, device="meta")
    with FlopCounterMode(display=False) as counter:
        found = model.network(image, None, all_layers=False)
        if found.masks is not None:
            queries = torch.arange(model.network.query_embed.num_embeddings, device="meta")
            found.masks(torch.zeros_like(queries), queries)
    return counter.get_total_flops() / 1e9


@pytest.mark.parametrize(
    ("config", "official"),
    [
        ("detr_R50_500ep", 162.5),
        ("detr_R50_DC5_500ep", 346.5),
        ("detr_R101_500ep", 289.4),
        ("detr_R101_DC5_500ep", 473.4),
    ],
)
def test_detection_costs_no_more_than_the_official(config, official):
    # Attention on the meta device counts as in the official code; the lower bound shows that
    # nothing is left out of the count.
    assert 0.93 * official < gflops(config) <= official


@pytest.mark.parametrize(
    ("config", "official"), [("detr_panoptic_R50", 473.2), ("detr_panoptic_R101", 600.1)]
)
def test_panoptic_shares_what_queries_share(config, official):
    """All 100 queries kept: what the first convolution makes of the features, and the later ones of the
    laterals, is computed once, not once a query; upsampled maps are never convolved."""
    saved = official - gflops(config)
    assert saved >= 0.36 * 473.2
    assert saved < 0.4 * 473.2
