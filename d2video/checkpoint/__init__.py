from .checkpointer import VideoCheckpointer
from .convert import (
    CONVERTER_REGISTRY,
    CheckpointFormat,
    State,
    adapt_foreign,
    from_foreign,
    to_foreign,
)
from .loading import load_checkpoint_file, state_dict_of
from .writing import write_checkpoint

__all__ = [
    "CONVERTER_REGISTRY",
    "CheckpointFormat",
    "State",
    "VideoCheckpointer",
    "adapt_foreign",
    "from_foreign",
    "load_checkpoint_file",
    "state_dict_of",
    "to_foreign",
    "write_checkpoint",
]
