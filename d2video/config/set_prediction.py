"""Config keys that the set-prediction systems (DETR, VisTR, TrackFormer) have in common, and what is
built from them. Each system has the keys under a node of its own, such as ``MODEL.DETR``."""

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

# Least values of the keys below that no layer checks, for register_least.
LEAST_VALUES = dict.fromkeys(
    [
        *("ENC_LAYERS", "DIM_FEEDFORWARD", "MASK_DIM", "NO_OBJECT_WEIGHT", "L1_WEIGHT"),
        *("GIOU_WEIGHT", "MASK_WEIGHT", "DICE_WEIGHT", "COST_CLASS", "COST_L1"),
    ],
    0,
) | {"POSITION_TEMPERATURE": 1, "CLASS_WEIGHT": ABOVE_0}
# Those of add_mask_keys.
LEAST_MASK_VALUES = {"QUERY_MASK_WEIGHT": 0, "MASK_SCORES": 0}


def add_transformer_keys(node: CfgNode, hidden_dim: int = 256) -> None:
    """Add the keys of features, transformer and mask head; the defaults are the official ones.

    Args:
        node: such as ``cfg.MODEL.DETR``.
        hidden_dim: default of HIDDEN_DIM.
    """
    # Backbone features, fine to coarse: the last one feeds the transformer, the others the masks.
    node.IN_FEATURES = ["res2", "res3", "res4", "res5"]

    # Channels of the transformer, divisible by NUM_HEADS and by twice the number of axes of the sine
    # positions; attention heads; layers, of the encoder 0 or more; hidden width of the feed-forward
    # blocks, 0: none.
    node.HIDDEN_DIM = hidden_dim
    node.NUM_HEADS = 8
    node.ENC_LAYERS = 6
    node.DEC_LAYERS = 6
    node.DIM_FEEDFORWARD = 2048
    # Probability, from 0 to below 1.
    node.DROPOUT = 0.1
    # Normalize the input of each block (True) or its output (False, official).
    node.PRE_NORM = False
    # Sine positions: the ratio of the longest to the shortest wave, above 1 (official: 10000).
    node.POSITION_TEMPERATURE = 10000.0
    # The mask head's steps have 1/2, 1/4, … of this many channels; 0: of HIDDEN_DIM (official).
    node.MASK_DIM = 0


def add_query_keys(node: CfgNode) -> None:
    """Add the switches of the queries, by default those of the official DETR."""
    # Queries are boxes that every decoder layer corrects (DAB-DETR; see AnchorQueries).
    node.ANCHOR_QUERIES = False
    # With ANCHOR_QUERIES: each layer also learns from the boxes of the next one (DINO).
    node.LOOK_FORWARD_TWICE = False
    # Sets of NUM_QUERIES queries in training, which find all objects each; the first is used afterwards
    # (Group DETR). Costs time and memory in the decoder and in matching alone.
    node.QUERY_GROUPS = 1


def add_mask_keys(node: CfgNode) -> None:
    """Add the switches of the masks, by default those of the official code."""
    # Add the positions to the memory where the mask attention looks for a query's object (official:
    # False). Without a pretrained start masks of neighbouring objects separate far earlier.
    node.MASK_POSITIONS = False
    # Masks begin as the products of queries and pixels, which the mask head then changes, and which are
    # trained in every decoder layer (see MHAttentionMap; official: False). Without a pretrained start
    # masks are learned in half of the steps or less.
    node.QUERY_MASKS = False
    # Factor of the losses of these products, cross-entropy and Dice; 0 leaves them out.
    node.QUERY_MASK_WEIGHT = 2.0
    # Scores at inference (see Rescoring): times the mean probability of the mask's positive pixels to this
    # power (0: off; Mask2Former: 1), and times 1 - the overlap with a better prediction of the class.
    # SCORE_THRESH_TEST holds for the scores that come of it.
    node.MASK_SCORES = 0.0
    node.SOFT_NMS = False


def add_deformable_encoder_keys(node: CfgNode, num_frames: int | None = None) -> None:
    """Add the keys of an encoder with multi-scale deformable attention (Deformable DETR) in place of
    DETR's; ENC_LAYERS and PRE_NORM are its depth and norms. The decoder attends to all levels.

    Args:
        node: such as ``cfg.MODEL.DETR``.
        num_frames: default of NUM_FRAMES; None for a system of images, without the key.
    """
    node.DEFORMABLE_ENCODER = options = CfgNode()
    options.ENABLED = False
    # The last so many of IN_FEATURES feed the encoder, the others the masks, which take the finest
    # level of its memory. HIDDEN_DIM is then a multiple of 32.
    options.NUM_FEATURES = 2
    # Levels, NUM_FEATURES or more; further ones are made by strided convolutions.
    options.NUM_LEVELS = 2
    # Points that a token looks at, for each head, level and frame.
    options.POINTS = 4
    if num_frames is not None:
        # Frames that a token looks at, the nearest ones, from 1 (its own) to those of a clip.
        options.NUM_FRAMES = num_frames


def add_loss_keys(node: CfgNode) -> None:
    """Add the factors of losses and matching costs, official for DETR with a softmax over classes.

    The system adds the factor of the overlap in the cost (COST_GIOU, COST_IOU) by itself.
    """
    # Weight of queries without an object in the cross-entropy of the classes, 0 or more.
    node.NO_OBJECT_WEIGHT = 0.1
    # Factors of the losses: classes, above 0; L1 and GIoU of the boxes (relative to the image); focal
    # and Dice loss of the masks. 0 leaves a loss out; the boxes and the masks need one of their two.
    # The matching keeps its own factors, COST_*.
    node.CLASS_WEIGHT = 1.0
    node.L1_WEIGHT = 5.0
    node.GIOU_WEIGHT = 2.0
    node.MASK_WEIGHT = 1.0
    node.DICE_WEIGHT = 1.0

    # Factors of the matching cost, 0 or more: classes, and L1 of the boxes.
    node.COST_CLASS = 1.0
    node.COST_L1 = 5.0


def transformer_arguments(node: CfgNode, cfg: CfgNode) -> dict[str, Any]:
    """Arguments that transformers of any attention take, from the keys of
    :func:`add_transformer_keys` in ``node``."""
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
    """Arguments of the network, from the keys of :func:`add_query_keys`."""
    return {
        "anchors": node.ANCHOR_QUERIES,
        "look_twice": node.LOOK_FORWARD_TWICE,
        "query_groups": node.QUERY_GROUPS,
    }


def mask_arguments(node: CfgNode) -> dict[str, Any]:
    """Arguments of the networks of images and clips, from the keys of :func:`add_mask_keys`."""
    return {"mask_positions": node.MASK_POSITIONS, "query_masks": node.QUERY_MASKS}


def rescoring(node: CfgNode) -> Rescoring:
    """What becomes of the scores at inference, from the keys of :func:`add_mask_keys`."""
    return Rescoring(node.MASK_SCORES, node.SOFT_NMS)


def network_arguments(node: CfgNode, cfg: CfgNode) -> dict[str, Any]:
    """Arguments of :class:`d2video.modeling.query_network.QueryNetwork` that are the same for all
    systems, transformer included, from the keys of :func:`add_transformer_keys` in ``node``.

    Raises:
        ValueError: a size that the layers refuse, see
            :func:`d2video.config.checks.layer_errors`.
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
    """Arguments of :class:`d2video.modeling.set_prediction.SetPredictionModel`, but for the network.

    Args:
        node: with the keys of :func:`add_loss_keys`.
        class_loss: cross-entropy with NO_OBJECT_WEIGHT if None.
        giou_eps: see :class:`BoxLoss`.
        freeze_detector: train the mask branch only: the other losses have no gradient.
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
