"""Imports what registers itself: ``d2video.projects.register_all`` imports this module."""

from d2video.projects.detr import (  # noqa: F401
    config,
    converter,
    detr,
    export,
    hugging_face,
    inspection,
    zoo,
)
