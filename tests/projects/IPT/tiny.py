"""Very small IPTs, the golden one, and inputs for them."""

import numpy as np
import torch
from d2video.projects.ipt.converter import from_numbers, official_name
from d2video.projects.ipt.network import IPTNetwork
from d2video.projects.ipt.tasks import parse_tasks
from detectron2.config import CfgNode
from detectron2.modeling import build_model
from detectron2.utils.events import EventStorage
from torch import Tensor, nn

from d2video.config import get_cfg
from d2video.projects import register_all
from tests.helpers.golden_io import GOLDEN
from tests.helpers.nothing_shown import NOTHING_SHOWN

NODE = "MODEL.IPT."
TASKS = ["sr_x2", "sr_x3", "sr_x4", "derain", "denoise_30", "denoise_50"]
SIZES = [
    *(f"{NODE}NUM_FEATURES", 4, f"{NODE}PATCH_SIZE", 12, f"{NODE}NUM_LAYERS", 1),
    *(f"{NODE}NUM_HEADS", 2),
]
SMALL = [
    *NOTHING_SHOWN,
    *("MODEL.META_ARCHITECTURE", "IPT", "MODEL.DEVICE", "cpu", "INPUT.FORMAT", "RGB"),
    *("MODEL.PIXEL_MEAN", [114.444, 111.4605, 103.02], "MODEL.PIXEL_STD", [1.0] * 3),
    *(*SIZES, f"{NODE}TASKS", ["sr_x2", "derain", "denoise_30"]),
]


def tiny_cfg(*options) -> CfgNode:
    register_all()
    cfg = get_cfg()
    cfg.merge_from_list([*SMALL, *options])
    return cfg


def build(*options, seed: int = 0) -> nn.Module:
    """In evaluation mode."""
    torch.manual_seed(seed)
    return build_model(tiny_cfg(*options)).eval()


def load_golden() -> dict[str, Tensor]:
    """What tests/golden/ipt_tiny_p12.npz holds; gradients, stored as integers, under their names."""
    archive = np.load(GOLDEN / "ipt_tiny_p12.npz")
    golden = {}
    for key in archive.files:
        value = archive[key]
        if ".s:" in key:
            continue
        if ".q:" in key:
            value = value.astype(np.float32) * archive[key.replace(".q:", ".s:")]
        golden[key.replace(".q:", ".")] = torch.from_numpy(np.asarray(value, dtype=np.float32))
    return golden


def golden_network(golden: dict[str, Tensor]) -> IPTNetwork:
    """The network of the golden arrays, in evaluation mode."""
    network = IPTNetwork(parse_tasks(TASKS), 8, 12, 3, 2, 2).eval()
    ours = network.state_dict()
    official = {k.removeprefix("sd."): v for k, v in golden.items() if k.startswith("sd.")}
    named, _ = from_numbers(official, {official_name(name): v for name, v in ours.items()})
    network.load_state_dict({name: named[official_name(name)] for name in ours})
    return network


def make_patches(task: str, scale: int, count: int = 2, side: int = 12, seed: int = 0) -> list:
    """A training batch."""
    generator = torch.Generator().manual_seed(seed)
    return [
        {
            "image": 255 * torch.rand(3, side, side, generator=generator),
            "target": 255 * torch.rand(3, scale * side, scale * side, generator=generator),
            "task": task,
        }
        for _ in range(count)
    ]


def losses_of(model: nn.Module, batch: list[dict]) -> dict[str, Tensor]:
    with EventStorage():
        return model(batch)
