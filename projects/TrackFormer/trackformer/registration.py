"""Imports what registers itself: ``d2video.projects.register_all`` imports this module."""

from d2video.projects.trackformer import (  # noqa: F401
    benchmark,
    config,
    converter,
    deformable_detr,
    export,
    inspection,
    trackformer,
    zoo,
)
from d2video.projects.trackformer.training import frame_pair_mapper  # noqa: F401
