"""TrackFormer's networks from the config."""

import logging
import math
from collections.abc import Sequence

from d2video.projects.trackformer.network.base import TrackingNetwork
from d2video.projects.trackformer.network.deformable_network import DeformableTrackingNetwork
from d2video.projects.trackformer.network.detr_network import DETRTrackingNetwork
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.modeling import Backbone

from d2video.config.checks import (
    check_counts,
    check_in_features,
    check_loss_weights,
    layer_errors,
)
from d2video.config.set_prediction import network_arguments, transformer_arguments
from d2video.layers import SinePositionEncoding
from d2video.layers.deformable_transformer import DeformableTransformer
from d2video.layers.level_projections import NORM_GROUPS
from d2video.layers.ms_deform_attn import OffsetUnit
from d2video.modeling.backbone import build_frame_backbone
from d2video.utils.errors import UserError

logger = logging.getLogger(__name__)

_NAME = "MODEL.TRACKFORMER"
_COUNTS = ("NUM_CLASSES", "NUM_QUERIES", "HIDDEN_DIM", "NUM_HEADS", "DEC_LAYERS")


def build_network(cfg: CfgNode) -> TrackingNetwork:
    """The network that ``MODEL.TRACKFORMER`` describes.

    Raises:
        UserError: a value out of range, or values that do not go together.
    """
    node = cfg.MODEL.TRACKFORMER
    backbone = build_frame_backbone(cfg)
    check_config(cfg, backbone)
    with layer_errors(node, _NAME):
        if node.DEFORMABLE.ENABLED:
            unit, lateral = node.DEFORMABLE.OFFSET_UNIT, _mask_features(cfg)
            return deformable_network(
                cfg, node, _NAME, backbone, lateral, focal=node.FOCAL_LOSS, offset_unit=unit
            )
        return DETRTrackingNetwork(
            backbone=backbone,
            in_features=_mask_features(cfg) + list(node.IN_FEATURES),
            position_encoding=SinePositionEncoding(
                node.HIDDEN_DIM, num_axes=2, temperature=node.POSITION_TEMPERATURE, offset=-0.5
            ),
            num_queries=node.NUM_QUERIES,
            mask_on=cfg.MODEL.MASK_ON,
            track_attention=node.TRACK_ATTENTION,
            **network_arguments(node, cfg),
        )


def _mask_features(cfg: CfgNode) -> list[str]:
    return list(cfg.MODEL.TRACKFORMER.MASK_FEATURES) if cfg.MODEL.MASK_ON else []


def deformable_network(
    cfg: CfgNode,
    node: CfgNode,
    name: str,
    backbone: Backbone,
    lateral_features: Sequence[str] = (),
    *,
    focal: bool = True,
    offset_unit: OffsetUnit = "wh",
) -> DeformableTrackingNetwork:
    """The network that ``node``, with the keys of :func:`.config.add_deformable_keys`, describes.

    Args:
        name: of ``node``, for messages.
        lateral_features: see :class:`DeformableTrackingNetwork`.
        focal: whether "no object" has no logit.
        offset_unit: see :class:`DeformableTransformer`.

    Raises:
        UserError: a value out of range, or values that do not go together.
    """
    options = node.DEFORMABLE
    counts = ("NUM_LEVELS", "NUM_FRAMES", "ENC_POINTS", "DEC_POINTS")
    check_counts(options, f"{name}.DEFORMABLE", [key for key in counts if key in options])
    if options.DENSE_PROPOSALS and not options.TWO_STAGE:
        raise UserError(f"{name}.DEFORMABLE.DENSE_PROPOSALS needs TWO_STAGE: set it True")
    if node.get("TRACK_LINKS", False) and not options.DENSE_PROPOSALS:
        raise UserError(f"{name}.TRACK_LINKS needs DEFORMABLE.DENSE_PROPOSALS: set it True")
    frames = options.get("NUM_FRAMES", 1)
    separate = options.get("MULTI_FRAME_ATTENTION_SEPARATE_ENCODER", True)
    if not separate and (frames == 1 or node.ENC_LAYERS == 0):
        raise UserError(
            f"{name}.DEFORMABLE.MULTI_FRAME_ATTENTION_SEPARATE_ENCODER is False, but NUM_FRAMES is "
            f"{frames} and ENC_LAYERS {node.ENC_LAYERS}: set NUM_FRAMES 2 or more and ENC_LAYERS 1 or more"
        )
    _check_width(node, name, frames)
    return DeformableTrackingNetwork(
        backbone=backbone,
        in_features=list(node.IN_FEATURES),
        lateral_features=list(lateral_features),
        transformer=DeformableTransformer(
            **transformer_arguments(node, cfg),
            num_levels=options.NUM_LEVELS,
            num_frames=frames,
            encoder_points=options.ENC_POINTS,
            decoder_points=options.DEC_POINTS,
            offset_unit=offset_unit,
            separate_encoder=separate,
        ),
        num_queries=node.NUM_QUERIES,
        num_logits=node.NUM_CLASSES + (not focal),
        box_refine=options.BOX_REFINE,
        two_stage=options.TWO_STAGE,
        dense_proposals=options.DENSE_PROPOSALS,
        track_links=node.get("TRACK_LINKS", False),
        merge_frame_features=options.get("MERGE_FRAME_FEATURES", False),
        link_update=node.get("LINK_UPDATE", 1.0),
        temperature=node.POSITION_TEMPERATURE,
        mask_width=node.MASK_DIM or None,
        activation_checkpoint=cfg.MODEL.ACTIVATION_CHECKPOINT,
    )


def check_config(cfg: CfgNode, backbone: Backbone) -> None:
    """Raise ``UserError`` for what no layer checks, and for datasets that do not fit the model."""
    node = cfg.MODEL.TRACKFORMER
    check_counts(node, _NAME, _COUNTS)
    check_loss_weights(node, _NAME, masks=cfg.MODEL.MASK_ON)
    features = list(backbone.output_shape())
    check_in_features(node, _NAME, features)
    _check_test_sets(cfg)
    if any(c not in range(node.NUM_CLASSES) for c in node.TRACKED_CLASSES):
        raise UserError(
            f"{_NAME}.TRACKED_CLASSES is {list(node.TRACKED_CLASSES)}: the model's classes are 0 to "
            f"{node.NUM_CLASSES - 1} (NUM_CLASSES is {node.NUM_CLASSES})"
        )
    lateral = _mask_features(cfg)
    if cfg.MODEL.MASK_ON:
        check_in_features(node, _NAME, features, key="MASK_FEATURES")
    unit = node.DEFORMABLE.OFFSET_UNIT
    if unit not in ("wh", "hw"):
        raise UserError(f"{_NAME}.DEFORMABLE.OFFSET_UNIT is '{unit}': choose wh or hw")
    if node.DEFORMABLE.ENABLED:
        if lateral and lateral[-1] not in node.IN_FEATURES:
            raise UserError(
                f"{_NAME}.MASK_FEATURES ends with {lateral[-1]}: with deformable attention its last "
                "one must be one of IN_FEATURES"
            )
        if node.TRACK_ATTENTION or node.PRE_NORM:
            raise UserError(
                f"{_NAME}: TRACK_ATTENTION and PRE_NORM go with DETR's attention only: set "
                "DEFORMABLE.ENABLED False"
            )
    elif node.TRACK_LINKS:
        raise UserError(
            f"{_NAME}.TRACK_LINKS needs deformable attention: set DEFORMABLE.ENABLED True"
        )
    elif (
        node.DEFORMABLE.MERGE_FRAME_FEATURES
        or not node.DEFORMABLE.MULTI_FRAME_ATTENTION_SEPARATE_ENCODER
    ):
        raise UserError(
            f"{_NAME}.DEFORMABLE: MERGE_FRAME_FEATURES True and MULTI_FRAME_ATTENTION_SEPARATE_ENCODER "
            "False need deformable attention: set DEFORMABLE.ENABLED True"
        )
    elif len(node.IN_FEATURES) != 1 or node.DEFORMABLE.NUM_FRAMES > 1 or node.FOCAL_LOSS:
        raise UserError(
            f"{_NAME}: IN_FEATURES of several levels, NUM_FRAMES above 1 and FOCAL_LOSS need "
            "deformable attention: set DEFORMABLE.ENABLED True"
        )
    if not 0 < node.LINK_UPDATE <= 1:
        raise UserError(f"{_NAME}.LINK_UPDATE is {node.LINK_UPDATE}: set a share above 0, up to 1")
    for key in ("FALSE_NEGATIVE_PROB", "FALSE_POSITIVE_PROB"):
        if not 0 <= node[key] <= 1:
            raise UserError(f"{_NAME}.{key} is {node[key]}: set a probability, 0 to 1")


def _check_width(node: CfgNode, name: str, frames: int) -> None:
    """Deformable attention: heads, groups of norms and halves of sines share the width evenly."""
    width = node.HIDDEN_DIM
    axes = 3 if frames > 1 else 2
    unit = math.lcm(NORM_GROUPS, node.NUM_HEADS, 2 * axes)
    if width % unit:
        raise UserError(
            f"{name}.HIDDEN_DIM is {width}: with deformable attention, NUM_HEADS {node.NUM_HEADS} "
            f"and NUM_FRAMES {frames} it must be a multiple of {unit}, such as "
            f"{math.ceil(width / unit) * unit}"
        )


def _check_test_sets(cfg: CfgNode) -> None:
    """What would show only after the training."""
    rule = cfg.MODEL.TRACKFORMER.TRACKER.PUBLIC_DETECTIONS
    tracked = cfg.MODEL.TRACKFORMER.TRACKED_CLASSES
    for name in cfg.DATASETS.TEST:
        metadata = MetadataCatalog.get(name)
        classes = metadata.get("thing_classes") or ()
        if 0 < len(tracked) < len(classes):
            logger.warning(
                "%s.TRACKED_CLASSES is %s, so that other classes are not found, but dataset %s has %d "
                "classes (%s): set it to () to track all",
                *(_NAME, list(tracked), name, len(classes), ", ".join(classes)),
            )
        if metadata.get("evaluator_type") == "mots" and not cfg.MODEL.MASK_ON:
            raise UserError(
                f"dataset {name} of DATASETS.TEST is evaluated by masks: set MODEL.MASK_ON True, or "
                "name a set with boxes"
            )
        if rule and metadata.get("public_detections") is False:
            raise UserError(
                f"{_NAME}.TRACKER.PUBLIC_DETECTIONS is {rule}, but dataset {name} of DATASETS.TEST "
                "has no public detections: name one that has (register_mot with public_detections), "
                "or set the key to ''"
            )
