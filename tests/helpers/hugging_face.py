"""Very small detectors of Hugging Face transformers with random weights, and ours of the same sizes."""

from pathlib import Path

import torch
from detectron2.config import CfgNode
from torch import nn

from d2video.config import load_cfg
from d2video.projects import register_all

BACKBONE = {
    "model_type": "resnet",
    "embedding_size": 8,
    "hidden_sizes": [16, 32, 64, 128],
    "depths": [3, 4, 6, 3],
}
SIZES = {
    "d_model": 64,
    "encoder_layers": 1,
    "decoder_layers": 2,
    "encoder_ffn_dim": 16,
    "decoder_ffn_dim": 16,
    "encoder_attention_heads": 8,
    "decoder_attention_heads": 8,
    "num_queries": 5,
    "num_labels": 4,
}
# Ours of the same sizes.
SMALL = [
    *("DATASETS.TRAIN", [], "DATASETS.TEST", []),
    *("MODEL.RESNETS.STEM_OUT_CHANNELS", 8),
    *("MODEL.RESNETS.RES2_OUT_CHANNELS", 16),
    *("MODEL.RESNETS.WIDTH_PER_GROUP", 4),
    *("MODEL.DETR.NUM_CLASSES", 4, "MODEL.DETR.CLASS_LOGITS", []),
    *("MODEL.DETR.NUM_QUERIES", 5, "MODEL.DETR.HIDDEN_DIM", 64, "MODEL.DETR.NUM_HEADS", 8),
    *("MODEL.DETR.ENC_LAYERS", 1, "MODEL.DETR.DEC_LAYERS", 2, "MODEL.DETR.DIM_FEEDFORWARD", 16),
]


def small_cfg(config: str, *opts: object) -> CfgNode:
    register_all()
    return load_cfg(f"configs/{config}.yaml", ["MODEL.DEVICE", "cpu", *SMALL, *opts])


def hub_model(kind: str, **sizes: object) -> nn.Module:
    """``kind`` such as "DetrForObjectDetection", every parameter random, in evaluation mode."""
    import transformers

    transformers.logging.set_verbosity_error()
    config_class = getattr(transformers, f"{kind.split('For')[0]}Config")
    stages = ["stage1", "stage2", "stage3", "stage4"]
    if kind.startswith("Deformable"):
        stages = stages[1:] if sizes.get("num_feature_levels", 4) > 1 else stages[3:]
    backbone = BACKBONE | {"out_features": stages}
    torch.manual_seed(0)
    model = getattr(transformers, kind)(
        config_class(**SIZES | {"backbone_config": backbone} | sizes)
    )
    generator = torch.Generator().manual_seed(1)
    for name, value in model.state_dict().items():
        if "running_var" in name:
            value.uniform_(0.5, 1.5, generator=generator)
        elif value.dim() == 1:
            value.add_(torch.randn(value.shape, generator=generator), alpha=0.1)
        elif "class_embed" in name or "classifier" in name:
            value.normal_(generator=generator)
    return model.eval()


def saved(model: nn.Module, folder: Path, **options: object) -> Path:
    """The file of weights that ``save_pretrained`` writes."""
    model.save_pretrained(folder, **options)
    return folder / "model.safetensors"


def hub_images() -> tuple[torch.Tensor, torch.Tensor]:
    """Two images (2, 3, 96, 128) and their padding (2, 96, 128) bool; the second image is smaller."""
    images = torch.randn(2, 3, 96, 128, generator=torch.Generator().manual_seed(2))
    padding = torch.zeros(2, 96, 128, dtype=torch.bool)
    padding[1, 64:], padding[1, :, 96:] = True, True
    return images.masked_fill(padding[:, None], 0.0), padding
