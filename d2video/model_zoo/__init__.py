"""The model zoo: configs and published weights by name, as in ``detectron2.model_zoo``."""

from d2video.model_zoo.entries import ENTRIES, Entry, register_entries
from d2video.model_zoo.identification import Identified, identify
from d2video.model_zoo.model_config import known_weights, model_config
from d2video.model_zoo.zoo import (
    find_entry,
    get,
    get_checkpoint_url,
    get_config,
    get_config_file,
)

__all__ = [
    "ENTRIES",
    "Entry",
    "Identified",
    "find_entry",
    "get",
    "get_checkpoint_url",
    "get_config",
    "get_config_file",
    "identify",
    "known_weights",
    "model_config",
    "register_entries",
]
