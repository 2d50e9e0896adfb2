"""Imports what registers itself: ``d2video.projects.register_all`` imports this module."""

from d2video.projects.ipt import (  # noqa: F401
    config,
    converter,
    export,
    inspection,
    ipt,
    restoration_mapper,
    zoo,
)
