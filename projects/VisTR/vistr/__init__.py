"""VisTR: video instance segmentation with transformers (Wang et al., CVPR 2021)."""

from .config import add_vistr_config
from .converter import detr_name, official_name
from .matcher import InstanceSequenceMatcher
from .network import VisTRNetwork
from .vistr import VisTR

__all__ = [
    "InstanceSequenceMatcher",
    "VisTR",
    "VisTRNetwork",
    "add_vistr_config",
    "detr_name",
    "official_name",
]
