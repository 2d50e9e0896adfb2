"""Where a model loses: what ``d2video errors`` shows, by evaluator."""

from d2video.evaluation.errors import instances, tracking
from d2video.evaluation.errors.breakdown import Breakdown, ErrorFinder, find_errors

__all__ = ["Breakdown", "ErrorFinder", "find_errors", "instances", "tracking"]
