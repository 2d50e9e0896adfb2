"""Tell the mapper which batch a sample is for, so that all samples of a batch can share a choice."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from torch.utils.data import Sampler


class NumberedIndex(NamedTuple):
    """Index of a sample, and number of the batch that it is for, the same in all processes."""

    sample: int
    batch_number: int


class BatchNumberSampler(Sampler):
    """The indices of a sampler with the number of their batch.

    Worker processes take whole batches in turn (detectron2's ToIterableDataset, with chunks of a
    batch), and every process draws one batch a step, so the place in the stream tells the step: it
    does not depend on the number of workers and processes.
    """

    def __init__(self, sampler: Iterable[int], batch_size: int, first_batch: int = 0):
        """
        Args:
            sampler: indices for this process.
            batch_size: samples of a batch in this process.
            first_batch: number of the first, for a training that goes on.
        """
        assert batch_size >= 1, batch_size
        self.sampler = sampler
        self.batch_size = batch_size
        self.first_batch = first_batch

    def __iter__(self) -> Iterator[NumberedIndex]:
        for place, index in enumerate(self.sampler):
            yield NumberedIndex(int(index), self.first_batch + place // self.batch_size)
