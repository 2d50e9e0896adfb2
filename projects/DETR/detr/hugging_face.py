"""DETR and Deformable DETR of Hugging Face ``transformers`` under the names of the official files.

Releases 4 and 5 name a few parts differently, and so does a file by the backbone that it was made with,
timm's or the library's own.
"""

import re
from collections.abc import Collection
from typing import Any

import torch

from d2video.checkpoint.convert import DIALECTS, Dialect, State

_BACKBONE = "backbone.0.body."

# Applied in order, after the prefix "model." (or, with masks, "detr.model.") is off.
_RULES: list[tuple[str, Any]] = [
    (r"^backbone\.(?:conv_encoder\.)?model\.(?:_backbone\.)?", _BACKBONE),
    (r"^(?:backbone\.)?position_embedding\.row_embeddings\.", "backbone.1.row_embed."),
    (r"^(?:backbone\.)?position_embedding\.column_embeddings\.", "backbone.1.col_embed."),
    # Its own ResNet.
    (r"\.embedder\.embedder\.convolution\.", ".conv1."),
    (r"\.embedder\.embedder\.normalization\.", ".bn1."),
    (
        r"\.encoder\.stages\.(\d)\.layers\.(\d+)\.",
        lambda match: f".layer{int(match[1]) + 1}.{match[2]}.",
    ),
    (r"\.layer\.(\d)\.convolution\.", lambda match: f".conv{int(match[1]) + 1}."),
    (r"\.layer\.(\d)\.normalization\.", lambda match: f".bn{int(match[1]) + 1}."),
    (r"\.shortcut\.convolution\.", ".downsample.0."),
    (r"\.shortcut\.normalization\.", ".downsample.1."),
    # The detector.
    (r"^input_projection\.", "input_proj."),
    (r"^query_position_embeddings\.", "query_embed."),
    (r"^class_labels_classifier\.", "class_embed."),
    (r"^bbox_predictor\.", "bbox_embed."),
    (r"^decoder\.(class_embed|bbox_embed)\.", r"\1."),
    (
        r"^(level_embed|reference_points|enc_output|enc_output_norm|pos_trans|pos_trans_norm)\b",
        r"transformer.\1",
    ),
    (r"^(encoder|decoder)\.", r"transformer.\1."),
    (r"^transformer\.decoder\.layernorm\.", "transformer.decoder.norm."),
    (r"\.(?:mlp\.)?fc([12])\.", r".linear\1."),
    (r"\.o_proj\.", ".out_proj."),
    (r"^(transformer\.encoder\..*)\.self_attn_layer_norm\.", r"\1.norm1."),
    (r"^(transformer\.encoder\..*)\.final_layer_norm\.", r"\1.norm2."),
    (r"\.final_layer_norm\.", ".norm3."),
]
_DETR_DECODER = [
    (r"\.encoder_attn\.", ".multihead_attn."),
    (r"\.self_attn_layer_norm\.", ".norm1."),
    (r"\.encoder_attn_layer_norm\.", ".norm2."),
]
_DEFORMABLE_DECODER = [
    (r"\.encoder_attn\.", ".cross_attn."),
    (r"\.self_attn_layer_norm\.", ".norm2."),
    (r"\.encoder_attn_layer_norm\.", ".norm1."),
]
# The mask branch in release 5; in release 4 it has the official names.
_MASKS = [
    (r"^bbox_attention\.([qk])_proj\.", r"bbox_attention.\1_linear."),
    (r"^mask_head\.conv(\d)\.conv\.", r"mask_head.lay\1."),
    (r"^mask_head\.conv(\d)\.norm\.", r"mask_head.gn\1."),
    (
        r"^mask_head\.fpn_stages\.(\d)\.fpn_adapter\.",
        lambda match: f"mask_head.adapter{int(match[1]) + 1}.",
    ),
    (
        r"^mask_head\.fpn_stages\.(\d)\.refine\.conv\.",
        lambda match: f"mask_head.lay{int(match[1]) + 3}.",
    ),
    (
        r"^mask_head\.fpn_stages\.(\d)\.refine\.norm\.",
        lambda match: f"mask_head.gn{int(match[1]) + 3}.",
    ),
    (r"^mask_head\.output_conv\.", "mask_head.out_lay."),
]
_JOINED = re.compile(r"(.+_attn|.+\.multihead_attn)\.([qkv])_proj\.(weight|bias)")


def _replaced(name: str, rules: list[tuple[str, Any]]) -> str:
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name


def _joined(state: State) -> State:
    """Queries', keys' and values' projections of DETR's attention in one, as torch has them."""
    parts: dict[str, dict[str, torch.Tensor]] = {}
    joined: State = {}
    for name, value in state.items():
        if match := _JOINED.fullmatch(name):
            parts.setdefault(f"{match[1]}.in_proj_{match[3]}", {})[match[2]] = value
        else:
            joined[name] = value
    for name, found in parts.items():
        shapes = {value.shape for value in found.values()}
        if {*found} == {*"qkv"} and len(shapes) == 1 and shapes != {torch.Size()}:
            joined[name] = torch.cat([found[part] for part in "qkv"])
    return joined


def from_detr(state: State) -> State:
    """:class:`DetrForObjectDetection` and :class:`DetrForSegmentation`, as official files."""
    detector = "detr." if any(name.startswith("detr.") for name in state) else ""
    official: State = {}
    for name, value in state.items():
        if name.startswith(("mask_head.", "bbox_attention.")):
            official[_replaced(name, _MASKS)] = value
        elif not name.endswith(".num_batches_tracked"):
            own = name.removeprefix(detector).removeprefix("model.")
            official[detector + _replaced(own, _RULES + _DETR_DECODER)] = value
    return _joined(official)


def from_deformable_detr(state: State) -> State:
    """:class:`DeformableDetrForObjectDetection`, as an official file.

    Files leave out heads that are the same tensor as another: layers that share one, and the second names
    of the box heads in the decoder of a model with refinement.
    """
    own = {name.removeprefix("model."): value for name, value in state.items()}
    official = {
        _replaced(name, _RULES + _DEFORMABLE_DECODER): value
        for name, value in own.items()
        if not name.endswith(".num_batches_tracked")
    }
    numbers = {match[1] for name in official if (match := _DECODER_LAYER.match(name))}
    heads = len(numbers) + ("transformer.enc_output.weight" in official)
    for name in [*official]:
        match = _FIRST_HEAD.fullmatch(name)
        if match and f"{match[1]}.1.{match[2]}" not in official:
            others = [f"{match[1]}.{i}.{match[2]}" for i in range(1, heads)]
            official |= dict.fromkeys(others, official[name])
    if any(name.startswith("decoder.bbox_embed.") for name in own) or _differ(official):
        boxes = [name for name in official if name.startswith("bbox_embed.")]
        official |= {f"transformer.decoder.{name}": official[name] for name in boxes}
    return _joined(official)


_DECODER_LAYER = re.compile(r"transformer\.decoder\.layers\.(\d+)\.")
_FIRST_HEAD = re.compile(r"(class_embed|bbox_embed)\.0\.(.+)")


def _differ(state: State) -> bool:
    """Whether the layers have box heads of their own, which only a model with refinement has."""
    first, second = (state.get(f"bbox_embed.{i}.layers.0.weight") for i in (0, 1))
    return first is not None and second is not None and not torch.equal(first, second)


def _is_detr(names: Collection[str]) -> bool:
    return any(name.endswith("class_labels_classifier.weight") for name in names)


def _is_deformable(names: Collection[str]) -> bool:
    # Without the prefix where all names had it, which was taken for a wrapper's.
    return "model.level_embed" in names or "level_embed" in names


_LIBRARY = "Hugging Face transformers"
DIALECTS += [
    Dialect(_LIBRARY, ("detr", "detr_segm"), "detr", _is_detr, from_detr),
    Dialect(
        _LIBRARY, ("deformable_detr",), "deformable_detr", _is_deformable, from_deformable_detr
    ),
]
