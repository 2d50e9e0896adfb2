"""Bad samples of all processes: counted in the metrics, named in the log; too many end the run."""

from collections.abc import Callable

from detectron2.engine import HookBase
from detectron2.utils import comm

from d2video.data.bad_samples import BadSamples
from d2video.utils.errors import UserError

# A share of fewer samples says little.
LEAST_SAMPLES = 1000
_PERIOD = 20  # steps between two sums


class BadSampleHook(HookBase):
    """Adds up what the processes have counted, every 20 steps and after the last one.

    Writes the scalars ``bad_samples`` and ``bad_sample_share`` (of all samples drawn). A resumed
    training goes on with the counts, and names faults again.
    """

    def __init__(self, counts: Callable[[], BadSamples], max_share: float):
        """
        Args:
            counts: gives those of this process, of the loader in use.
            max_share: the run stops above this part, 0 to 1, of all samples drawn or
                ``LEAST_SAMPLES``, whichever are more.

        Raises:
            UserError: ``max_share`` is out of range.
        """
        if not 0 <= max_share <= 1:
            raise UserError(f"DATALOADER.MAX_BAD_SHARE is {max_share}: set a share from 0 to 1")
        self._counts = counts
        self._max_share = max_share
        self._sent = 0  # faults that the other processes know
        self._drawn = self._bad = 0  # of all processes
        self._before = (0, 0)  # drawn and bad in the runs that this one continues

    def state_dict(self) -> dict[str, int]:
        return {"drawn": self._drawn, "bad": self._bad}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self._before = (state["drawn"], state["bad"])
        self._drawn, self._bad = self._before

    def after_step(self) -> None:
        """
        Raises:
            UserError: too many samples are bad; in all processes alike.
        """
        step = self.trainer.iter + 1
        if step % _PERIOD and step != self.trainer.max_iter:
            return
        counts = self._counts()
        faults = list(counts.faults)
        news = comm.all_gather((counts.drawn, counts.bad, faults[self._sent :]))
        self._sent = len(faults)
        if comm.is_main_process():
            for _, _, others in news:
                for fault in others:
                    counts.name(fault)
            self._sent = len(counts.faults)
        self._drawn, self._bad = (
            before + sum(each[k] for each in news) for k, before in enumerate(self._before)
        )
        share = self._bad / max(self._drawn, 1)
        self.trainer.storage.put_scalars(
            bad_samples=self._bad, bad_sample_share=share, smoothing_hint=False
        )
        if self._bad > self._max_share * max(self._drawn, LEAST_SAMPLES):
            last = next((each[2][-1] for each in news if each[2]), next(iter(faults), ""))
            raise UserError(
                f"{self._bad} of {self._drawn} samples cannot be read, more than "
                f"DATALOADER.MAX_BAD_SHARE {self._max_share:g} allows, one of them: {last}"
            )
