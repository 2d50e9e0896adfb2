"""When a training saves: every few steps, after the last one, and on request."""

from detectron2.checkpoint import Checkpointer
from detectron2.engine.hooks import PeriodicCheckpointer

from d2video.utils.errors import UserError


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

    def after_step(self) -> None:
        iteration = self.trainer.iter
        if (iteration + 1) % self.period == 0 or iteration >= self.max_iter - 1:
            self.trainer.gather_random_state()
            super().after_step()
            self._saved_iter = iteration

    def save_now(self) -> None:
        """Save ``model_<iteration>`` after a step, unless it has been; in all processes alike."""
        iteration = self.trainer.iter
        if self._saved_iter == iteration:
            return
        self.trainer.gather_random_state()
        self.save(f"{self.file_prefix}_{iteration:07d}", iteration=iteration)
        self._saved_iter = iteration
