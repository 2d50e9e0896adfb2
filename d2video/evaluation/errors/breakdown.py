"""A breakdown of a model's errors, and how an evaluator finds it."""

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
        """The tables that have rows."""
        return "\n\n".join(
            f"{self.name}: {title}\n{tabulate(rows, 'keys', 'pipe', floatfmt='.2f')}"
            for title, rows in self.tables.items()
            if rows
        )

    def as_json(self) -> Row:
        """``tables`` and ``objects``."""
        return {"tables": self.tables, "objects": self.objects}


@singledispatch
def find_errors(evaluator: Any, min_score: float) -> list[Breakdown]:
    """Break down the errors in the answers that an evaluator has taken.

    Call it in all processes, before ``evaluate``. It dispatches on the evaluator's class; for a new one,
    register a function with ``@find_errors.register``.

    Args:
        evaluator: has taken all answers.
        min_score: an object counts as found by predictions of at least this score. A protocol's figures
            do not depend on it.

    Returns:
        The breakdowns, in the main process; empty in other processes, without labels, and, with a
        warning, if nothing is registered for the evaluator.
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
    """Wraps an evaluator and also finds the errors.

    Attributes:
        breakdowns: of the last evaluation, see :func:`find_errors`.
    """

    def __init__(self, evaluator: DatasetEvaluator, min_score: float) -> None:
        self._evaluator, self._min_score = evaluator, min_score
        self.breakdowns: list[Breakdown] = []

    def reset(self) -> None:
        """Reset the evaluator."""
        self._evaluator.reset()

    def process(self, inputs: Any, outputs: Any) -> None:
        """Pass on to the evaluator."""
        self._evaluator.process(inputs, outputs)

    def evaluate(self) -> Any:
        """Find the errors; return the evaluator's results."""
        # First: COCO's evaluator changes the predictions that it scores.
        self.breakdowns = find_errors(self._evaluator, self._min_score)
        return self._evaluator.evaluate()
