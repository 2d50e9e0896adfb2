"""When a training saves: every few steps, after the last one, and on request."""

import logging

from detectron2.checkpoint import Checkpointer
from detectron2.engine.hooks import PeriodicCheckpointer

from d2video.utils.errors import UserError

logger = logging.getLogger(__name__)

FINAL = "model_final"


class CheckpointHook(PeriodicCheckpointer):
    """PeriodicCheckpointer of a :class:`~d2video.engine.VideoTrainer`, registered in all processes,
    since each has a random state to be saved."""

    def __init__(self, checkpointer: Checkpointer, period: int):
        """
        Args:
            checkpointer: writes only in the main process.
            period: steps from one checkpoint to the next.

        Raises:
            UserError: ``period`` is below 1.
        """
        if period < 1:
            raise UserError(f"SOLVER.CHECKPOINT_PERIOD is {period}: set 1 or more")
        super().__init__(checkpointer, period)
        self._saved_iter: int | None = None
        self._names: list[str] = []  # of what was saved after that step

    def after_step(self) -> None:
        iteration = self.trainer.iter
        names = [self._numbered()] if (iteration + 1) % self.period == 0 else []
        if iteration >= self.max_iter - 1:
            names.append(FINAL)
        self._save(*names)

    def save_now(self) -> None:
        """Save ``model_<iteration>`` after a step, unless it has been; in all processes alike."""
        if self._saved_iter != self.trainer.iter:
            self._save(self._numbered())

    def save_final(self) -> None:
        """Save ``model_final`` after a step that is the last one; in all processes alike."""
        self._save(FINAL)

    def save_again(self) -> None:
        """Write the checkpoints of the last step again, with what is known since, such as metrics."""
        if self._names:
            logger.info("The checkpoints of this step are written again, with the metrics")
        for name in self._names:
            self.save(name, iteration=self._saved_iter)

    def _numbered(self) -> str:
        return f"{self.file_prefix}_{self.trainer.iter:07d}"

    def _save(self, *names: str) -> None:
        iteration = self.trainer.iter
        if self._saved_iter != iteration:
            self._names = []
            if names:
                self.trainer.gather_random_state()
                self._saved_iter = iteration
        for name in names:
            self.save(name, iteration=iteration)
            self._names.append(name)
