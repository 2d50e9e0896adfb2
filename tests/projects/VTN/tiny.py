"""Very small VTNs, and clips for them."""

import timm
import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model
from detectron2.utils.events import EventStorage
from torch import Tensor, nn

from d2video.config import get_cfg
from d2video.projects import register_all
from tests.helpers.nothing_shown import NOTHING_SHOWN

NODE = "MODEL.VTN."
SIZES = [
    *(f"{NODE}NUM_CLASSES", 5, f"{NODE}HIDDEN_DIM", 32, f"{NODE}NUM_HEADS", 4),
    *(f"{NODE}DIM_FEEDFORWARD", 48, f"{NODE}MAX_POSITIONS", 40, f"{NODE}MLP_DIM", 24),
]
SMALL = [
    *NOTHING_SHOWN,
    *("MODEL.META_ARCHITECTURE", "VTN", "MODEL.DEVICE", "cpu"),
    *("MODEL.PIXEL_MEAN", [114.75] * 3, "MODEL.PIXEL_STD", [57.375] * 3),
    *(*SIZES, f"{NODE}NUM_LAYERS", 2, f"{NODE}WINDOW", 4),
    *(f"{NODE}STREAM_INTERVAL", 3, "INPUT.CLASSIFICATION.CROP_SIZE_TEST", 32),
]
RESNET = [
    *("MODEL.BACKBONE.NAME", "build_resnet_backbone", "MODEL.BACKBONE.FREEZE_AT", 0),
    *("MODEL.RESNETS.DEPTH", 50, "MODEL.RESNETS.STEM_OUT_CHANNELS", 8),
    *("MODEL.RESNETS.RES2_OUT_CHANNELS", 16, "MODEL.RESNETS.WIDTH_PER_GROUP", 4),
    *("MODEL.RESNETS.NORM", "BN", "MODEL.RESNETS.OUT_FEATURES", ["res3", "res4"]),
]
VIT = ["MODEL.BACKBONE.NAME", "build_timm_vit_backbone", "MODEL.TIMM.NAME", "vit_of_tests"]
BACKBONES = {"resnet": RESNET, "vit": VIT}


@timm.models.register_model
def vit_of_tests(**arguments) -> nn.Module:
    """Frames of 32x32, 16 patches, 2 blocks; by its name MODEL.TIMM.NAME asks for it."""
    sizes = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 4}
    return timm.create_model("vit_base_patch16_224", **sizes, **arguments)


@timm.models.register_model
def vit_with_weights(pretrained: bool = False, **arguments) -> nn.Module:
    """As if timm had weights of it."""
    return vit_of_tests(**arguments)


def tiny_cfg(backbone: str = "resnet", *options) -> CfgNode:
    register_all()
    cfg = get_cfg()
    cfg.merge_from_list([*SMALL, *BACKBONES[backbone], *options])
    return cfg


def build(backbone: str = "resnet", *options, seed: int = 0) -> nn.Module:
    """In evaluation mode. Weights of the temporal encoder and the head are larger than at the start
    of a training, so that frames and their order make a difference."""
    torch.manual_seed(seed)
    model = build_model(tiny_cfg(backbone, *options)).eval()
    with torch.no_grad():
        for part in (model.temporal_encoder, model.head):
            for parameter in part.parameters():
                parameter.add_(0.2 * torch.randn(parameter.shape))
    return model


def make_clip(length: int = 6, *, label: int = 1, size: int = 32, seed: int = 0) -> dict:
    generator = torch.Generator().manual_seed(seed)
    shape = (length, 3, size, size)
    return {
        "image": torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8),
        "frame_index": 2 * torch.arange(length),
        "label": label,
        "video_id": 7 + seed,
    }


def losses_of(model: nn.Module, batch: list[dict], seed: int = 0) -> dict[str, Tensor]:
    """The losses; what is drawn is the same every time."""
    torch.manual_seed(seed)
    with EventStorage():
        return model(batch)
