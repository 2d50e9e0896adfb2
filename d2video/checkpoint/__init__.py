"""Save, load, resume from and convert checkpoints."""

from d2video.checkpoint.about import about_model, config_in, metrics_in
from d2video.checkpoint.checkpointer import VideoCheckpointer
from d2video.checkpoint.convert import (
    CONVERTER_REGISTRY,
    CheckpointFormat,
    State,
    adapt_foreign,
    checkpoint_format,
    from_foreign,
    to_foreign,
    translated,
)
from d2video.checkpoint.loading import class_names_in, load_checkpoint_file, state_dict_of
from d2video.checkpoint.writing import write_checkpoint

__all__ = [
    "CONVERTER_REGISTRY",
    "CheckpointFormat",
    "State",
    "VideoCheckpointer",
    "about_model",
    "adapt_foreign",
    "checkpoint_format",
    "class_names_in",
    "config_in",
    "from_foreign",
    "load_checkpoint_file",
    "metrics_in",
    "state_dict_of",
    "to_foreign",
    "translated",
    "write_checkpoint",
]
