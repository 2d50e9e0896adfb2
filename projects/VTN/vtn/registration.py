"""Imports what registers itself: ``d2video.projects.register_all`` imports this module."""

from d2video.projects.vtn import (  # noqa: F401
    config,
    converter,
    export,
    features,
    inspection,
    timm_vit,
    vtn,
    zoo,
)
from d2video.projects.vtn.features import register_default_folders

register_default_folders()
