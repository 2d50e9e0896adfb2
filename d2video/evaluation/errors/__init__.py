"""Where a model loses: what ``d2video errors`` shows, by evaluator."""

from d2video.evaluation.errors import (
    classification,
    instances,
    restoration,
    segments,
    tracking,
)
from d2video.evaluation.errors.breakdown import Breakdown, ErrorFinder, find_errors

__all__ = [
    "Breakdown",
    "ErrorFinder",
    "classification",
    "find_errors",
    "instances",
    "restoration",
    "segments",
    "tracking",
]
