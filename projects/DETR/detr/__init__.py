"""DETR: detection and panoptic segmentation with transformers (Carion et al., ECCV 2020)."""

from d2video.projects.detr import converter, hugging_face, inspection, zoo  # noqa: F401  (register themselves)
from d2video.projects.detr.config import add_detr_config
from d2video.projects.detr.detr import DETR
from d2video.projects.detr.network import DETRNetwork
from d2video.projects.detr.panoptic import panoptic_map

__all__ = ["DETR", "DETRNetwork", "add_detr_config", "panoptic_map"]
