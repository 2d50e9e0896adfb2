"""Imports what registers itself: ``d2video.projects.register_all`` imports this module."""

from d2video.projects.vistr import (  # noqa: F401
    benchmark,
    config,
    converter,
    export,
    inspection,
    vistr,
    zoo,
)
