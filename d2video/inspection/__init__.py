"""Look inside a model: attention, queries and matching, as arrays and as pictures."""

from d2video.inspection.look import Look, inspect, sections, shown
from d2video.inspection.query_networks import Maps, Points, QueryRun, record_queries

__all__ = [
    "Look",
    "Maps",
    "Points",
    "QueryRun",
    "inspect",
    "record_queries",
    "sections",
    "shown",
]
