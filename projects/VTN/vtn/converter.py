"""Names of VTN's parameters in files of the official code (PySlowFast) and of timm."""

import re

from d2video.checkpoint.convert import CONVERTER_REGISTRY, CheckpointFormat
from d2video.checkpoint.recognition import (
    MODEL_SIGNATURES,
    MODEL_SIZES,
    OTHER_CLASSES,
    ModelSize,
)
from d2video.data.datasets.video_classification import kinetics400_classes

_BACKBONE = "frame_encoder.backbone."
_VIT = f"{_BACKBONE}vit."
_TEMPORAL = "temporal_encoder."

_EMBEDDINGS = {
    "position.": "position_embeddings.",
    "token_type.": "token_type_embeddings.",
    "norm.": "LayerNorm.",
}
# Of a layer; in the official code it is Longformer's, of the package transformers.
_LAYER = {
    "attention.out.": "attention.output.dense.",
    "attention.": "attention.self.",
    "norm1.": "attention.output.LayerNorm.",
    "linear1.": "intermediate.dense.",
    "linear2.": "output.dense.",
    "norm2.": "output.LayerNorm.",
}
_IN_LAYER = re.compile(r"layers\.(\d+)\.(.+)")


def _replace_start(name: str, starts: dict[str, str]) -> str:
    """``name`` with the first of the starts that it has replaced."""
    for ours, theirs in starts.items():
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    return name


def pyslowfast_name(name: str) -> str:
    """Our parameter's name in an official checkpoint.

    A backbone other than timm's ViT, and a projection, which the official code lacks, keep theirs.
    """
    if name.startswith(_BACKBONE):
        return "backbone." + name.removeprefix(_BACKBONE).removeprefix("vit.")
    if name.startswith("head."):
        return f"mlp_{name}"
    if not name.startswith(_TEMPORAL):
        return name
    own = name.removeprefix(_TEMPORAL)
    if own == "cls_token":
        return own
    part, _, rest = own.partition(".")
    if part == "embeddings":
        return f"{_TEMPORAL}embeddings.{_replace_start(rest, _EMBEDDINGS)}"
    match = _IN_LAYER.fullmatch(own)
    assert match is not None, name
    return f"{_TEMPORAL}encoder.layer.{match[1]}.{_replace_start(match[2], _LAYER)}"


CONVERTER_REGISTRY["VTN"] = {
    "pyslowfast": CheckpointFormat(
        "official VTN (PySlowFast)",
        pyslowfast_name,
        # Numbers 0, 1, 2, ... that older releases of transformers saved.
        not_in_model=(f"{_TEMPORAL}embeddings.position_ids",),
        file_key="model_state",
        class_names={400: kinetics400_classes()},
    ),
    "timm": CheckpointFormat(
        "a Vision Transformer of timm",
        lambda name: name.removeprefix(_VIT),
        not_in_file=(_TEMPORAL, "projection.", "head."),
        not_in_model=("head.", "fc_norm.", "pre_logits."),
    ),
}

MODEL_SIGNATURES["VTN"] = [("temporal_encoder.cls_token", "head.1.weight")]
MODEL_SIZES["VTN"] = [ModelSize("MODEL.VTN.NUM_CLASSES", "head.4.bias", 0, OTHER_CLASSES)]
