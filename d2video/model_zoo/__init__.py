"""The model zoo: configs and published weights by name, as in ``detectron2.model_zoo``."""

from d2video.model_zoo.entries import ENTRIES, Entry, register_entries

__all__ = ["ENTRIES", "Entry", "register_entries"]
