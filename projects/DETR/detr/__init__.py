"""DETR: detection and panoptic segmentation with transformers (Carion et al., ECCV 2020)."""

from d2video.utils.lazy_names import lazy_names

_MODULES = {
    "config": ["add_detr_config"],
    "detr": ["DETR"],
    "network": ["DETRNetwork"],
    "panoptic": ["panoptic_map"],
}

__all__ = ["DETR", "DETRNetwork", "add_detr_config", "panoptic_map"]
__getattr__ = lazy_names(__name__, _MODULES)
