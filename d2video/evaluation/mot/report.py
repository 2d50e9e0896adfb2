"""Tracking metrics of all sequences of a split, as a table and as a file."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from tabulate import tabulate

from d2video.evaluation.mot.ground_truth import MOTGroundTruth
from d2video.evaluation.mot.metrics import Metrics, combine_metrics, summarize
from d2video.utils.files import replace_on_success

COMBINED = "COMBINED"  # all sequences together; last in what follows
_COLUMNS = ("sMOTSA", "HOTA", "DetA", "AssA", "MOTA", "IDF1", "IDSW", "FP", "FN", "MT", "ML")


@dataclass(frozen=True)
class MOTReport:
    """The metrics of a split.

    Attributes:
        benchmark: whose rules were followed.
        details: sequence or ``COMBINED`` → all fields of TrackEval, fractions.
        summaries: sequence or ``COMBINED`` → percentages and counts, see :func:`summarize`.
    """

    benchmark: str
    details: dict[str, Metrics]
    summaries: dict[str, dict[str, float]]

    @classmethod
    def of(cls, ground_truth: MOTGroundTruth, metrics: Mapping[str, Metrics]) -> "MOTReport":
        """Put together the metrics of sequences (by name, at least one)."""
        details = {name: metrics[name] for name in sorted(metrics)}
        details[COMBINED] = combine_metrics(metrics)
        summaries = {
            name: summarize(each, ground_truth.has_masks) for name, each in details.items()
        }
        return cls(ground_truth.benchmark, details, summaries)

    def table(self) -> str:
        """A line a sequence and one for all."""
        columns = [name for name in _COLUMNS if name in self.summaries[COMBINED]]
        rows = [[name, *(each[c] for c in columns)] for name, each in self.summaries.items()]
        return tabulate(rows, ("sequence", *columns), "pipe", floatfmt=".2f")

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write everything as JSON, whole or not at all.

        ``benchmark``, ``combined`` and ``sequences`` (by name); for each ``summary`` and
        ``details``.

        Raises:
            UserError: the path cannot be written.
        """
        entries = {
            name: {"summary": self.summaries[name], "details": each}
            for name, each in self.details.items()
        }
        combined = entries.pop(COMBINED)
        content = {"benchmark": self.benchmark, "combined": combined, "sequences": entries}
        with replace_on_success(path) as partial, open(partial, "w", encoding="utf-8") as file:
            json.dump(content, file, default=_plain, indent=1)


def _plain(value: Any) -> Any:
    assert isinstance(value, np.ndarray | np.generic), type(value)
    return value.tolist()
