"""VisTR: video instance segmentation with transformers (Wang et al., CVPR 2021)."""

from d2video.utils.lazy_names import lazy_names

_MODULES = {
    "config": ["add_vistr_config"],
    "matcher": ["InstanceSequenceMatcher"],
    "network": ["VisTRNetwork"],
    "vistr": ["VisTR"],
}

__all__ = ["InstanceSequenceMatcher", "VisTR", "VisTRNetwork", "add_vistr_config"]
__getattr__ = lazy_names(__name__, _MODULES)
