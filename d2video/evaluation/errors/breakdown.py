"""What a breakdown of a model's errors holds, and how evaluators come to theirs."""

import logging
from dataclasses import dataclass
from functools import singledispatch
from typing import Any

from detectron2.evaluation import DatasetEvaluator, DatasetEvaluators
from tabulate import tabulate

from d2video.evaluation.mapped import MappedClasses

logger = logging.getLogger(__name__)

Row = dict[str, Any]


@dataclass(frozen=True)
class Breakdown:
    """Where a model loses.

    Attributes:
        name: of the evaluator's results, such as "segm".
        tables: title → rows, which have the same keys; numbers and text.
        objects: a row for each object, video or image, with what identifies it and ``cause``.
    """

    name: str
    tables: dict[str, list[Row]]
    objects: list[Row]

    def text(self) -> str:
        """The tables, those without rows left out."""
        shown = {title: rows for title, rows in self.tables.items() if rows}
        return "\n\n".join(
            f"{self.name}: {title}\n{tabulate(rows, 'keys', 'pipe', floatfmt='.2f')}"
            for title, rows in shown.items()
        )

    def as_json(self) -> Row:
        """``tables`` and ``objects``."""
        return {"tables": self.tables, "objects": self.objects}


@singledispatch
def find_errors(evaluator: Any, min_score: float) -> list[Breakdown]:
    """The breakdowns of what an evaluator has been given; call it in all processes, before ``evaluate``.

    It dispatches on the evaluator's class. A project whose evaluator is a class of its own registers a
    function with ``@find_errors.register``.

    Args:
        evaluator: that has taken all answers.
        min_score: predictions of at least this score count as given, of others it is only said that
            they are there. The figures of a protocol do not depend on it.

    Returns:
        In the main process the breakdowns: none without labels, or if the evaluator has none, which the
        log says. Empty in other processes.
    """
    logger.warning("%s has no breakdown of errors", type(evaluator).__name__)
    return []


@find_errors.register
def _(evaluator: MappedClasses, min_score: float) -> list[Breakdown]:
    return find_errors(evaluator.evaluator, min_score)


@find_errors.register
def _(evaluator: DatasetEvaluators, min_score: float) -> list[Breakdown]:
    return [found for each in evaluator._evaluators for found in find_errors(each, min_score)]


class ErrorFinder(DatasetEvaluator):
    """An evaluator that also finds the errors.

    Attributes:
        breakdowns: of the last evaluation, see :func:`find_errors`.
    """

    def __init__(self, evaluator: DatasetEvaluator, min_score: float) -> None:
        self._evaluator, self._min_score = evaluator, min_score
        self.breakdowns: list[Breakdown] = []

    def reset(self) -> None:
        """As the evaluator."""
        self._evaluator.reset()

    def process(self, inputs: Any, outputs: Any) -> None:
        """As the evaluator."""
        self._evaluator.process(inputs, outputs)

    def evaluate(self) -> Any:
        """Find the errors, and return what the evaluator does."""
        # First: COCO's evaluator changes the predictions that it scores.
        self.breakdowns = find_errors(self._evaluator, self._min_score)
        return self._evaluator.evaluate()
