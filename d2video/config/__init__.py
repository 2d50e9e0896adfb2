"""Configs: the keys that systems share, loading, and checks."""

from d2video.config.defaults import get_cfg, register_config
from d2video.config.files import find_config
from d2video.config.limits import ABOVE_0, register_least
from d2video.config.loading import asked_device, load_cfg
from d2video.config.renamed import register_removed

__all__ = [
    "ABOVE_0",
    "asked_device",
    "find_config",
    "get_cfg",
    "load_cfg",
    "register_config",
    "register_least",
    "register_removed",
]
