"""DETR: detection and panoptic segmentation with transformers (Carion et al., ECCV 2020)."""

from . import converter  # noqa: F401  (registers the formats)
from .config import add_detr_config
from .detr import DETR
from .matcher import HungarianMatcher, ImageTargets
from .network import DETRNetwork, MaskBranch
from .panoptic import panoptic_map

__all__ = [
    "DETR",
    "DETRNetwork",
    "HungarianMatcher",
    "ImageTargets",
    "MaskBranch",
    "add_detr_config",
    "panoptic_map",
]
