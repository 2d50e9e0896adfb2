"""The model zoo: configs and published weights by name, as in ``detectron2.model_zoo``.

``ENTRIES`` is the table: a list of :class:`Entry`.
"""

from typing import TYPE_CHECKING, Any

from d2video.model_zoo import backbone_entries  # noqa: F401  (registers them)
from d2video.model_zoo.entries import Entry, register_entries
from d2video.model_zoo.identification import Identified, identify
from d2video.model_zoo.model_config import known_weights, model_config
from d2video.model_zoo.zoo import (
    find_entry,
    get,
    get_checkpoint_url,
    get_config,
    get_config_file,
)

if TYPE_CHECKING:
    from d2video.model_zoo.entries import ENTRIES
else:

    def __getattr__(name: str) -> Any:
        """Return ENTRIES with the rows of all projects, which import this package to add theirs."""
        if name != "ENTRIES":
            raise AttributeError(f"module 'd2video.model_zoo' has no attribute '{name}'")
        from d2video.model_zoo.entries import ENTRIES
        from d2video.projects import register_all

        register_all()
        return ENTRIES


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
