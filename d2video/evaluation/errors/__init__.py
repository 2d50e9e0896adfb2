"""Where a model loses: what ``d2video errors`` shows, by evaluator."""

# Each registers its breakdown.
from d2video.evaluation.errors import (  # noqa: F401
    classification,
    instances,
    restoration,
    segments,
    tracking,
)
from d2video.evaluation.errors.breakdown import Breakdown, ErrorFinder, find_errors

__all__ = ["Breakdown", "ErrorFinder", "find_errors"]
