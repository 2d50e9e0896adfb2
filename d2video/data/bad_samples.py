"""Training goes on when a sample cannot be read: another takes its place, within bounds.

The dataset replaces bad samples where they are read, in worker processes too, and notes them in the
sample; the loader takes the note out again in the process that trains, and counts.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from d2video.data.mappers.clip import sample_seed
from d2video.data.sample_stream import NumberedIndex, TrainLoader
from d2video.utils.errors import BrokenFile, UserError

logger = logging.getLogger(__name__)

# In a sample from the dataset to the loader: what was wrong with those that it replaces.
_FAULTS = "bad_samples"


class RetryingDataset(Dataset):
    """Mapped records. One that is bad is replaced by another, drawn with the sample's own seed."""

    def __init__(self, records: Any, mapper: Callable[[dict[str, Any]], Any], max_retries: int):
        """
        Args:
            records: a dataset of them.
            mapper: called with one, gives a dict; raises :class:`BrokenFile` where another may take
                its place.
            max_retries: others tried for one sample. 0: a bad sample is an error.

        Raises:
            UserError: ``max_retries`` is negative.
        """
        if max_retries < 0:
            raise UserError(f"DATALOADER.MAX_RETRIES is {max_retries}: it must not be negative")
        self.records = records
        self._mapper = mapper
        self._max_retries = max_retries

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int | NumberedIndex) -> Any:
        """The mapped record, which has ``batch_number`` where the index tells it.

        Raises:
            UserError: the mapper's own, or after ``max_retries`` bad samples in a row.
        """
        batch = {}
        if isinstance(index, NumberedIndex):
            index, batch["batch_number"] = index
        faults: list[str] = []
        rng = None
        while len(faults) <= self._max_retries:
            try:
                record = self.records[int(index)]
                mapped = self._mapper({**record, **batch} if batch else record)
                return mapped | {_FAULTS: faults} if faults else mapped
            except BrokenFile as error:
                if self._max_retries == 0:
                    raise
                faults.append(str(error))
            if rng is None:
                # A child of the seed, so that the mapper's draws are others.
                rng = np.random.default_rng(sample_seed().spawn(1)[0])
            index = int(rng.integers(len(self.records)))
        raise UserError(
            f"{len(faults)} samples in a row cannot be read (DATALOADER.MAX_RETRIES), the last: "
            f"{faults[-1]}"
        )


class BadSamples:
    """How many samples a process has drawn, how many of them are bad, and why.

    Attributes:
        drawn: samples, bad ones and their replacements both.
        bad: those that were replaced.
        faults: what was wrong, once each, in the order in which it was met.
    """

    def __init__(self) -> None:
        self.drawn = 0
        self.bad = 0
        self.faults: dict[str, None] = {}

    def add(self, drawn: int, faults: Iterable[str]) -> None:
        """Count samples, ``drawn`` with the bad ones; a fault that is new is logged."""
        self.drawn += drawn
        for fault in faults:
            self.bad += 1
            self.name(fault)

    def name(self, fault: str) -> None:
        """Log a fault if it is new."""
        if fault not in self.faults:
            self.faults[fault] = None
            logger.warning(
                "bad sample: %s. Another takes its place; faults so far: %d",
                *(fault, len(self.faults)),
            )


class CountingLoader:
    """Takes batches of a :class:`RetryingDataset` from a loader and counts the bad samples.

    Attributes:
        object_counts: how many objects each sample has at most, (N,) int64; None if they hold none.
    """

    def __init__(self, loader: TrainLoader, object_counts: np.ndarray | None = None):
        self.loader = loader
        self.object_counts = object_counts
        self.bad_samples = BadSamples()

    def __iter__(self) -> Iterator[list[dict[str, Any]]]:
        for batch in self.loader:
            faults = [fault for sample in batch for fault in sample.pop(_FAULTS, ())]
            self.bad_samples.add(len(batch) + len(faults), faults)
            yield batch
