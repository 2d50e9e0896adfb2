"""Config keys shared by the set-prediction systems (DETR, VisTR, TrackFormer), and what is built from them.

Each system has the keys under its own node, such as ``MODEL.DETR``.
"""

from typing import Any

from detectron2.config import CfgNode

from d2video.config.checks import has_deformable_encoder
from d2video.config.limits import ABOVE_0
from d2video.config.precision import inference_precision
from d2video.layers import Transformer
from d2video.layers.multi_scale_encoder import MultiScaleEncoder
from d2video.modeling.criterion import (
    BoxLoss,
    ClassificationLoss,
    MaskLoss,
    QueryMaskLoss,
    SetCriterion,
    SetLoss,
)
from d2video.modeling.losses import ClassLoss, CrossEntropy
from d2video.modeling.rescoring import Rescoring

# Minimum values, for register_least, of those keys below that no layer checks.
LEAST_VALUES = dict.fromkeys(
    [
        *("ENC_LAYERS", "DIM_FEEDFORWARD", "MASK_DIM", "NO_OBJECT_WEIGHT", "L1_WEIGHT"),
        *("GIOU_WEIGHT", "MASK_WEIGHT", "DICE_WEIGHT", "COST_CLASS", "COST_L1"),
    ],
    0,
) | {"POSITION_TEMPERATURE": 1, "CLASS_WEIGHT": ABOVE_0}
# Minimum values of the keys of add_mask_keys.
LEAST_MASK_VALUES = {"QUERY_MASK_WEIGHT": 0, "MASK_SCORES": 0}


def add_transformer_keys(node: CfgNode, hidden_dim: int = 256) -> None:
    """Add the keys of the features, the transformer and the mask head, with the official defaults.

    Args:
        node: such as ``cfg.MODEL.DETR``.
        hidden_dim: default of HIDDEN_DIM.
    """
    # Backbone features, fine to coarse. The last one feeds the transformer, the others the mask head.
    node.IN_FEATURES = ["res2", "res3", "res4", "res5"]

    # HIDDEN_DIM: channels of the transformer, divisible by NUM_HEADS and by twice the number of axes of the
    # sine positions. NUM_HEADS: attention heads. ENC_LAYERS: encoder layers, 0 or more. DEC_LAYERS: decoder
    # layers. DIM_FEEDFORWARD: hidden width of the feed-forward blocks; 0: no such blocks.
    node.HIDDEN_DIM = hidden_dim
    node.NUM_HEADS = 8
    node.ENC_LAYERS = 6
    node.DEC_LAYERS = 6
    node.DIM_FEEDFORWARD = 2048
    # Dropout probability, from 0 to below 1.
    node.DROPOUT = 0.1
    # True: normalise the input of each block; False (official): its output.
    node.PRE_NORM = False
    # Ratio of the longest to the shortest wave of the sine positions, above 1 (official: 10000).
    node.POSITION_TEMPERATURE = 10000.0
    # Width of the mask head: its steps have 1/2, 1/4, … of this many channels. 0: of HIDDEN_DIM (official).
    node.MASK_DIM = 0


def add_query_keys(node: CfgNode) -> None:
    """Add the switches of the queries; the defaults are those of the official DETR."""
    # Use boxes as queries, which every decoder layer refines (DAB-DETR; see AnchorQueries).
    node.ANCHOR_QUERIES = False
    # With ANCHOR_QUERIES, let each layer also learn from the boxes of the next one (DINO).
    node.LOOK_FORWARD_TWICE = False
    # Number of sets of NUM_QUERIES queries in training, each of which finds all objects (Group DETR).
    # Inference uses the first set. Costs time and memory only in the decoder and in matching.
    node.QUERY_GROUPS = 1


def add_mask_keys(node: CfgNode) -> None:
    """Add the switches of the masks; the defaults are those of the official code."""
    # Add the positions to the memory in the mask attention (official: False). When training from scratch,
    # masks of neighbouring objects then separate far earlier.
    node.MASK_POSITIONS = False
    # Start masks as products of queries and pixels, which the mask head refines and which are trained in
    # every decoder layer (see MHAttentionMap; official: False). When training from scratch, masks are then
    # learned in half of the steps or fewer.
    node.QUERY_MASKS = False
    # Weight of the losses of these products, cross-entropy and Dice. 0: leave them out.
    node.QUERY_MASK_WEIGHT = 2.0
    # Change the scores at inference (see Rescoring). MASK_SCORES: multiply by the mean probability of the
    # mask's positive pixels to this power (0: off; Mask2Former: 1). SOFT_NMS: multiply by 1 - the overlap
    # with a better prediction of the class. SCORE_THRESH_TEST applies to the changed scores.
    node.MASK_SCORES = 0.0
    node.SOFT_NMS = False


def add_deformable_encoder_keys(node: CfgNode, num_frames: int | None = None) -> None:
    """Add the keys of an encoder with multi-scale deformable attention (Deformable DETR).

    It replaces DETR's encoder; ENC_LAYERS and PRE_NORM set its depth and norms. The decoder attends to all
    levels.

    Args:
        node: such as ``cfg.MODEL.DETR``.
        num_frames: default of NUM_FRAMES; None for an image system, which does not have the key.
    """
    node.DEFORMABLE_ENCODER = options = CfgNode()
    options.ENABLED = False
    # Number of the last IN_FEATURES that feed the encoder. The others feed the mask head, which takes the
    # finest level of the encoder's memory. HIDDEN_DIM must then be a multiple of 32.
    options.NUM_FEATURES = 2
    # Number of levels, at least NUM_FEATURES. Strided convolutions produce the additional ones.
    options.NUM_LEVELS = 2
    # Number of points that a token attends to, for each head, level and frame.
    options.POINTS = 4
    if num_frames is not None:
        # Number of nearest frames that a token attends to, from 1 (its own) to all frames of a clip.
        options.NUM_FRAMES = num_frames


def add_loss_keys(node: CfgNode) -> None:
    """Add the weights of losses and matching costs, with the defaults of the official DETR (softmax).

    The weight of the overlap in the matching cost (COST_GIOU or COST_IOU) is added by each system.
    """
    # Weight of queries without an object in the classification's cross-entropy, 0 or more.
    node.NO_OBJECT_WEIGHT = 0.1
    # Weights of the losses: classification (above 0), L1 and GIoU of the boxes (relative to the image), focal
    # and Dice loss of the masks. 0: leave the loss out; at least one loss of the boxes and one of the masks
    # must stay. Matching has its own weights, COST_*.
    node.CLASS_WEIGHT = 1.0
    node.L1_WEIGHT = 5.0
    node.GIOU_WEIGHT = 2.0
    node.MASK_WEIGHT = 1.0
    node.DICE_WEIGHT = 1.0

    # Weights of the matching cost, 0 or more: classes, and L1 of the boxes.
    node.COST_CLASS = 1.0
    node.COST_L1 = 5.0


def transformer_arguments(node: CfgNode, cfg: CfgNode) -> dict[str, Any]:
    """Return the arguments common to transformers with any kind of attention.

    They come from the keys of :func:`add_transformer_keys` in ``node``.
    """
    return {
        "width": node.HIDDEN_DIM,
        "num_heads": node.NUM_HEADS,
        "num_encoder_layers": node.ENC_LAYERS,
        "num_decoder_layers": node.DEC_LAYERS,
        "feedforward": node.DIM_FEEDFORWARD,
        "dropout": node.DROPOUT,
        "activation_checkpoint": cfg.MODEL.ACTIVATION_CHECKPOINT,
    }


def query_arguments(node: CfgNode) -> dict[str, Any]:
    """Return the network's arguments from the keys of :func:`add_query_keys`."""
    return {
        "anchors": node.ANCHOR_QUERIES,
        "look_twice": node.LOOK_FORWARD_TWICE,
        "query_groups": node.QUERY_GROUPS,
    }


def mask_arguments(node: CfgNode) -> dict[str, Any]:
    """Return the arguments of image and clip networks from the keys of :func:`add_mask_keys`."""
    return {"mask_positions": node.MASK_POSITIONS, "query_masks": node.QUERY_MASKS}


def rescoring(node: CfgNode) -> Rescoring:
    """Return how scores change at inference, from the keys of :func:`add_mask_keys`."""
    return Rescoring(node.MASK_SCORES, node.SOFT_NMS)


def network_arguments(node: CfgNode, cfg: CfgNode) -> dict[str, Any]:
    """Return the arguments of :class:`d2video.modeling.query_network.QueryNetwork` common to all systems.

    They include the transformer and come from the keys of :func:`add_transformer_keys` in ``node``.

    Raises:
        ValueError: if the layers reject a size, see :func:`d2video.config.checks.layer_errors`.
    """
    arguments = {
        "num_classes": node.NUM_CLASSES,
        "mask_width": node.MASK_DIM or None,
        "activation_checkpoint": cfg.MODEL.ACTIVATION_CHECKPOINT,
    }
    sizes = transformer_arguments(node, cfg)
    if has_deformable_encoder(node):
        sizes["num_encoder_layers"] = 0
        arguments["deformable_encoder"] = _deformable_encoder(node, cfg)
        arguments["encoder_features"] = node.DEFORMABLE_ENCODER.NUM_FEATURES
    return arguments | {"transformer": Transformer(pre_norm=node.PRE_NORM, **sizes)}


def _deformable_encoder(node: CfgNode, cfg: CfgNode) -> MultiScaleEncoder:
    options = node.DEFORMABLE_ENCODER
    return MultiScaleEncoder(
        *(node.HIDDEN_DIM, node.NUM_HEADS, node.ENC_LAYERS, node.DIM_FEEDFORWARD),
        dropout=node.DROPOUT,
        pre_norm=node.PRE_NORM,
        num_levels=options.NUM_LEVELS,
        num_points=options.POINTS,
        num_frames=options.get("NUM_FRAMES", 1),
        activation_checkpoint=cfg.MODEL.ACTIVATION_CHECKPOINT,
    )


def model_arguments(
    node: CfgNode,
    cfg: CfgNode,
    *,
    class_loss: ClassLoss | None = None,
    giou_eps: float = 0.0,
    freeze_detector: bool = False,
) -> dict[str, Any]:
    """Return the arguments of :class:`d2video.modeling.set_prediction.SetPredictionModel`.

    The network itself is not included.

    Args:
        node: node with the keys of :func:`add_loss_keys`.
        class_loss: loss of the classes; None: cross-entropy with NO_OBJECT_WEIGHT.
        giou_eps: see :class:`BoxLoss`.
        freeze_detector: train only the mask branch, because the other losses have no gradient.
    """
    class_loss = class_loss or CrossEntropy(node.NO_OBJECT_WEIGHT)
    losses: list[SetLoss] = [MaskLoss(node.MASK_WEIGHT, node.DICE_WEIGHT)]
    if not freeze_detector:
        box = BoxLoss(node.L1_WEIGHT, node.GIOU_WEIGHT, giou_eps)
        losses = [ClassificationLoss(class_loss, node.CLASS_WEIGHT), box, *losses]
    if node.get("QUERY_MASKS") and node.QUERY_MASK_WEIGHT:
        losses.append(QueryMaskLoss(node.QUERY_MASK_WEIGHT, node.QUERY_MASK_WEIGHT))
    return {
        "criterion": SetCriterion(node.NUM_CLASSES, class_loss, losses),
        "pixel_mean": cfg.MODEL.PIXEL_MEAN,
        "pixel_std": cfg.MODEL.PIXEL_STD,
        "freeze_detector": freeze_detector,
        "compile_model": cfg.MODEL.COMPILE,
        "precision": inference_precision(cfg),
    }
