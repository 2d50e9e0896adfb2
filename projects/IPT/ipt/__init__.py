"""IPT: image restoration (Chen et al., Pre-Trained Image Processing Transformer, 2021)."""

from d2video.utils.lazy_names import lazy_names

_MODULES = {
    "config": ["add_ipt_config"],
    "ipt": ["IPT"],
    "network": ["IPTNetwork"],
    "restoration_mapper": ["RestorationMapper"],
    "tasks": ["Task", "parse_tasks"],
}

__all__ = ["IPT", "IPTNetwork", "RestorationMapper", "Task", "add_ipt_config", "parse_tasks"]
__getattr__ = lazy_names(__name__, _MODULES)
