"""VisTR: video instance segmentation with transformers (Wang et al., CVPR 2021)."""

from d2video.projects.vistr import (  # noqa: F401  (register themselves)
    benchmark,
    converter,
    inspection,
    zoo,
)
from d2video.projects.vistr.config import add_vistr_config
from d2video.projects.vistr.matcher import InstanceSequenceMatcher
from d2video.projects.vistr.network import VisTRNetwork
from d2video.projects.vistr.vistr import VisTR

__all__ = [
    "InstanceSequenceMatcher",
    "VisTR",
    "VisTRNetwork",
    "add_vistr_config",
]
