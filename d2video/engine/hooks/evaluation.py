"""What the evaluations of a training lead to: metrics in its checkpoints, the best model, an early end."""

import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from detectron2.engine.hooks import EvalHook
from detectron2.evaluation.testing import flatten_results_dict
from detectron2.utils import comm

from d2video.checkpoint.run_folder import BEST
from d2video.engine.hooks.checkpoint import CheckpointHook
from d2video.evaluation.main_metric import main_metric
from d2video.utils.errors import UserError

logger = logging.getLogger(__name__)

AUTO = "auto"
_BETTER = {"max": lambda new, old: new > old, "min": lambda new, old: new < old}


class StoppedEarly(BaseException):
    """Ends a training that no longer gets better. Not an Exception: detectron2 logs those as failures."""


class EvaluationHook(EvalHook):
    """detectron2's EvalHook, with its results and the best metric kept in checkpoints.

    The results are stored in all later checkpoints, and in the checkpoint of the same step, which is
    written again. The model with the best metric so far is kept as ``model_best.pth``, without the state
    that only resuming needs. (detectron2's BestCheckpointer forgets the best metric when a run is resumed.)

    A resumed run decides like a run that never stopped: the checkpoint holds all that counts, and an
    interrupted evaluation is repeated. Register it in all processes, behind the hook that saves.

    Attributes:
        metrics: "last" and "best": {"iteration", "results": {name: value}}; "best" has "metric" as well.
    """

    def __init__(
        self,
        period: int,
        evaluate: Callable[[], Any],
        saving: CheckpointHook,
        *,
        metric: str = AUTO,
        mode: str = "max",
        patience: int = 0,
    ):
        """
        Args:
            period: steps from one evaluation to the next; 0: only after the last one.
            evaluate: returns nested results in the main process, and a dict in all.
            saving: writes the checkpoints.
            metric: such as "segm/AP"; "auto": the main one of the results, see
                :func:`~d2video.evaluation.main_metric.main_metric`, if there are several evaluations to
                compare; "": no best model is kept.
            mode: "max" if higher is better, else "min".
            patience: end the training after this many evaluations in a row without a better one; 0: never.

        Raises:
            UserError: an unknown ``mode``, or ``patience`` without evaluations or a metric.
        """
        super().__init__(period, self._evaluate)
        if mode not in _BETTER:
            raise UserError(f"TEST.BEST_MODE is '{mode}': set max (higher is better) or min")
        if patience and not (period > 0 and metric):
            missing = "TEST.EVAL_PERIOD is 0" if metric else "TEST.BEST_METRIC is empty"
            raise UserError(
                f"TEST.EARLY_STOPPING is {patience}, but {missing}: set the steps from one evaluation to "
                "the next and a metric to watch, or EARLY_STOPPING 0"
            )
        self.metrics: dict[str, Any] = {}
        self._run: Callable[[], Any] | None = evaluate
        self._saving = saving
        self._metric = metric if period > 0 or metric != AUTO else ""
        self._mode = mode
        self._patience = patience
        self._without_better = 0  # evaluations in a row
        self._found: Any = None

    def before_train(self) -> None:
        start = self.trainer.start_iter
        is_due = (
            self._period > 0 and start % self._period == 0 and 0 < start < self.trainer.max_iter
        )
        if is_due and self.metrics.get("last", {}).get("iteration") != start - 1:
            logger.info(
                "The evaluation after iteration %d was interrupted: running it again", start - 1
            )
            self.trainer.storage.iter = start - 1
            self._do_eval()
            self._take(start - 1)

    def before_step(self) -> None:
        """
        Raises:
            StoppedEarly: there was no better evaluation for too long, in this run or before it was
                resumed; in all processes, and ``model_final.pth`` is written.
        """
        if 0 < self._patience <= self._without_better:
            self.trainer.iter -= 1  # the step that was the last
            self._end()

    def after_step(self) -> None:
        """
        Raises:
            UserError: the metric is not in the results.
        """
        super().after_step()
        self._take(self.trainer.iter)

    def after_train(self) -> None:
        super().after_train()
        self._take(self.trainer.max_iter - 1)
        self._run = None  # as detectron2's: no references in a circle

    def state_dict(self) -> dict[str, Any]:
        if not self.metrics:
            return {}
        return {**self.metrics, "without_better": self._without_better}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """
        Raises:
            KeyError, TypeError, ValueError: the state of something else.
        """
        count = state["without_better"]
        if type(count) is not int or count < 0:
            raise ValueError(f"it has had {count} evaluations without a better one")
        for each in (state[key] for key in ("last", "best") if key in state):
            if type(each["iteration"]) is not int or not isinstance(each["results"], dict):
                raise ValueError("its metrics are not those of an evaluation")
        if "best" in state and not math.isfinite(state["best"]["results"][state["best"]["metric"]]):
            raise ValueError("its best metric is not finite")
        self.metrics = {key: state[key] for key in ("last", "best") if key in state}
        self._without_better = count
        self._saving.checkpointer.metrics = self.metrics

    def _evaluate(self) -> Any:
        assert self._run is not None
        self._found = self._run()
        return self._found

    def _take(self, iteration: int) -> None:
        """Remember what was found, if there was an evaluation after the step ``iteration``."""
        if self._found is None:
            return
        results = {name: float(value) for name, value in flatten_results_dict(self._found).items()}
        self._found, fault = None, ""
        if results:  # in the main process
            self.metrics["last"] = {"iteration": iteration, "results": results}
            fault = self._compare(results, iteration)
            self._saving.checkpointer.metrics = self.metrics
        elif self._patience and comm.is_main_process():
            fault = "TEST.EARLY_STOPPING needs results, but no dataset in DATASETS.TEST has labels"
        # What the others decide from.
        decided = comm.all_gather((fault, self._without_better, bool(results)))
        fault, self._without_better, has_results = decided[0]
        if fault:
            raise UserError(fault)
        if not has_results:
            return
        if self.metrics.get("best", {}).get("iteration") == iteration:
            self._saving.checkpointer.save_model(Path(BEST).stem, iteration=iteration)
        # Last: a run that is killed in between evaluates again.
        self._saving.save_again()

    def _compare(self, results: dict[str, float], iteration: int) -> str:
        """What is wrong with the metric, or ""."""
        name = main_metric(results) if self._metric == AUTO else self._metric
        if not name:
            return ""
        if name not in results:
            return (
                f"TEST.BEST_METRIC is {name}, which the evaluation does not have: set one of "
                f"{', '.join(results)}"
            )
        best = self.metrics.get("best")
        if best and (best["metric"], best["mode"]) != (name, self._mode):
            logger.warning(
                "The best checkpoint so far was chosen by %s: from now on %s counts, starting afresh",
                *(best["metric"], name),
            )
            best, self._without_better = None, 0
        value = results[name]
        if not math.isfinite(value):
            logger.warning("%s is %s after iteration %d: not the best", name, value, iteration)
        elif best is None or _BETTER[self._mode](value, best["results"][name]):
            self._without_better = 0
            self.metrics["best"] = {
                **{"metric": name, "mode": self._mode},
                **{"iteration": iteration, "results": results},
            }
            logger.info("%s is %.4g after iteration %d: the best so far", name, value, iteration)
            return ""
        self._without_better += 1
        return ""

    def _end(self) -> None:
        self._saving.save_final()
        comm.synchronize()  # a process that has ended may end the others
        best = self.metrics.get("best", {})
        logger.warning(
            "Training stops after iteration %d: no better %s in %d evaluations (TEST.EARLY_STOPPING is "
            "%d)%s",
            *(
                self.trainer.iter,
                best.get("metric", self._metric),
                self._without_better,
                self._patience,
            ),
            f" than after iteration {best['iteration']}, see {BEST}" if best else "",
        )
        raise StoppedEarly
