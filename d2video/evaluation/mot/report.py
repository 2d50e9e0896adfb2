"""Tracking metrics of all sequences of a split, as a table and as a file."""

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from tabulate import tabulate

from d2video.evaluation.mot.ground_truth import MOTGroundTruth
from d2video.evaluation.mot.metrics import (
    COUNTS,
    Metrics,
    average_classes,
    combine_metrics,
    summarize,
)
from d2video.utils.files import replace_on_success

COMBINED = "COMBINED"  # all sequences together; last in what follows
_COLUMNS = ("sMOTSA", "HOTA", "DetA", "AssA", "MOTA", "IDF1", "IDSW", "FP", "FN", "MT", "ML")
_BY_CLASS = ("sMOTSA", "HOTA", "MOTA", "IDF1")  # in the results, for each class


@dataclass(frozen=True)
class ClassReport:
    """The metrics of a class.

    Attributes:
        details: sequence or ``COMBINED`` → all fields of TrackEval, fractions.
        summaries: sequence or ``COMBINED`` → percentages and counts, see :func:`summarize`; the
            percentages are nan in ``COMBINED`` if the split has no such object.
    """

    details: dict[str, Metrics]
    summaries: dict[str, dict[str, float]]

    @classmethod
    def of(cls, metrics: Mapping[str, Metrics], has_masks: bool) -> "ClassReport":
        """Put together the metrics of sequences (by name, at least one)."""
        details = {name: metrics[name] for name in sorted(metrics)}
        details[COMBINED] = combine_metrics(metrics)
        summaries = {name: summarize(each, has_masks) for name, each in details.items()}
        summaries[COMBINED] = _summary(details[COMBINED], has_masks)
        return cls(details, summaries)

    def as_json(self) -> dict[str, Any]:
        """``combined`` and ``sequences`` (by name), each with ``summary`` and ``details``."""
        entries = {
            name: {
                "summary": _without_nan(summary),
                "details": self.details[name],
            }
            for name, summary in self.summaries.items()
        }
        combined = entries.pop(COMBINED)
        return {"combined": combined, "sequences": entries}


@dataclass(frozen=True)
class MOTReport:
    """The metrics of a split.

    Attributes:
        benchmark: whose rules were followed.
        has_masks: whether masks were compared, and not boxes.
        classes: name → metrics of the class.
        groups: name → classes of this report that the benchmark averages as well.
    """

    benchmark: str
    has_masks: bool
    classes: dict[str, ClassReport]
    groups: dict[str, list[str]]

    @classmethod
    def of(
        cls, ground_truth: MOTGroundTruth, metrics: Mapping[str, Mapping[str, Metrics]]
    ) -> "MOTReport":
        """Put together the metrics of sequences (at least one), by their names and then by class."""
        classes = {
            name: ClassReport.of(
                {sequence: by_class[name] for sequence, by_class in metrics.items()},
                ground_truth.has_masks,
            )
            for name in next(iter(metrics.values()))
        }
        given = ground_truth.rule.groups if ground_truth.rule else {}
        groups = {name: [*filter(classes.__contains__, each)] for name, each in given.items()}
        return cls(
            ground_truth.benchmark,
            ground_truth.has_masks,
            classes,
            {name: each for name, each in groups.items() if each},
        )

    @property
    def unlabelled(self) -> list[str]:
        """The classes of which the split has no object."""
        details = {name: each.details[COMBINED] for name, each in self.classes.items()}
        return [name for name, each in details.items() if not each["Count"]["GT_Dets"]]

    def averages(self) -> dict[str, dict[str, Any]]:
        """``summary`` and ``details`` of TrackEval's averages of classes.

        "class average": ``cls_comb_cls_av`` of the classes that have objects; counts are those of all.
        "detection average": ``cls_comb_det_av`` of all classes, and by the same rule the benchmark's groups,
        whose percentages are nan without objects.
        """
        combined = {name: each.details[COMBINED] for name, each in self.classes.items()}
        labelled = {k: each for k, each in combined.items() if k not in self.unlabelled}
        details = {"class average": average_classes(labelled)}
        for name, members in {"detection average": combined, **self.groups}.items():
            details[name] = average_classes({each: combined[each] for each in members}, "det")
        averages: dict[str, dict[str, Any]] = {
            name: {"summary": _summary(each, self.has_masks), "details": each}
            for name, each in details.items()
        }
        counts = {name: averages["detection average"]["summary"][name] for name in COUNTS}
        averages["class average"]["summary"] |= counts
        return averages

    def results(self) -> dict[str, float]:
        """Percentages and counts of all sequences together, see :func:`summarize`.

        Of several classes these are the class average, and sMOTSA (of masks), HOTA, MOTA and IDF1 of
        each class follow as ``HOTA-<class>``, …: nan if the split has no such object.
        """
        if len(self.classes) == 1:
            (only,) = self.classes.values()
            return only.summaries[COMBINED]
        results = dict(self.averages()["class average"]["summary"])
        for name, each in self.classes.items():
            summary = each.summaries[COMBINED]
            results |= {f"{key}-{name}": summary[key] for key in _BY_CLASS if key in summary}
        return results

    def table(self) -> str:
        """A line a sequence and one for all; of several classes, a line a class and their averages."""
        if len(self.classes) == 1:
            (only,) = self.classes.values()
            head, summaries = "sequence", only.summaries
        else:
            head = "class"
            summaries = {name: each.summaries[COMBINED] for name, each in self.classes.items()}
            summaries |= {name: each["summary"] for name, each in self.averages().items()}
        columns = [name for name in _COLUMNS if name in next(iter(summaries.values()))]
        rows = [[name, *(each[c] for c in columns)] for name, each in summaries.items()]
        table = tabulate(rows, (head, *columns), "pipe", floatfmt=".2f")
        if self.unlabelled and len(self.classes) > 1:
            table += f"\nNot in the class average, having no objects: {', '.join(self.unlabelled)}"
        return table

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write everything as JSON, whole or not at all.

        ``benchmark``, ``combined`` and ``sequences`` (by name); for each ``summary`` and
        ``details``. Of several classes ``benchmark``, ``averages`` and ``classes`` (by name), which
        have ``combined`` and ``sequences``; nan is null.

        Raises:
            UserError: the path cannot be written.
        """
        content: dict[str, Any] = {"benchmark": self.benchmark}
        if len(self.classes) == 1:
            (only,) = self.classes.values()
            content |= only.as_json()
        else:
            content["averages"] = {
                name: {**each, "summary": _without_nan(each["summary"])}
                for name, each in self.averages().items()
            }
            content["classes"] = {name: each.as_json() for name, each in self.classes.items()}
        with replace_on_success(path) as partial, open(partial, "w", encoding="utf-8") as file:
            json.dump(content, file, default=_plain, indent=1)


def _summary(metrics: Metrics, has_masks: bool) -> dict[str, float]:
    """With percentages nan if there are no objects."""
    summary = summarize(metrics, has_masks)
    if metrics["Count"]["GT_Dets"]:
        return summary
    return {key: value if key in COUNTS else math.nan for key, value in summary.items()}


def _without_nan(summary: Mapping[str, float]) -> dict[str, float | None]:
    return {key: None if math.isnan(value) else value for key, value in summary.items()}


def _plain(value: Any) -> Any:
    assert isinstance(value, np.ndarray | np.generic), type(value)
    return value.tolist()
