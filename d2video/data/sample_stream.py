"""The endless stream of training samples, which can be taken up again at any place.

A sample has a number, its place in one stream that all processes share. Which record it is, and all
that is drawn for it, depend on the stream's seed and on this number only: neither on the process and
worker that make it, nor on what was made before. Workers therefore have no state worth saving, and a
position is a few numbers.
"""

import itertools
import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import torch
from detectron2.data.build import worker_init_reset_seed
from torch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info

from d2video.utils.random_state import seeded

logger = logging.getLogger(__name__)

_MOST_IN_A_BATCH = 2**20  # far more than anybody has

Sample = dict[str, Any]
# From a seed to the endless stream of indices of all processes.
IndexStream = Callable[[int], Iterator[int]]


class NumberedIndex(NamedTuple):
    """Index of a sample, and number of the batch that it is for, the same in all processes.

    Samples of a batch share choices by it.
    """

    sample: int
    batch_number: int


class Position(NamedTuple):
    """Where one process is in the stream.

    Attributes:
        next: number of its next sample.
        pending: numbers of samples before it that have been made and wait for others to fill a batch.
        batches: taken so far.
    """

    next: int
    pending: tuple[int, ...] = ()
    batches: int = 0


class TrainLoader:
    """An endless loader of full batches, lists of mapped records.

    A second iteration begins with the batch after the last one taken. What workers have made ahead is
    made again.
    """

    def __init__(
        self,
        dataset: Dataset,
        indices: IndexStream,
        batch_size: int,
        *,
        seed: int,
        num_workers: int = 0,
        group_by_shape: bool = False,
        rank: int = 0,
        num_processes: int = 1,
        pin_memory: bool = False,
    ):
        """
        Args:
            dataset: mapped records; its indices are :class:`NumberedIndex`, or, with
                ``group_by_shape``, plain.
            indices: the order of the samples.
            batch_size: of this process.
            seed: of the stream, the same in all processes, at least 0.
            num_workers: processes that load ahead; 0: none.
            group_by_shape: batches are either of wide samples or of others. Which samples share a
                batch is then known only when they are there, so that they have no batch number.
            rank, num_processes: this process, and how many share the stream.
            pin_memory: tensors of samples come in pinned memory, from which a GPU takes them without
                the host waiting. Those within ``Instances`` do not.
        """
        assert batch_size >= 1, batch_size
        assert 0 <= rank < num_processes, (rank, num_processes)
        assert seed >= 0, seed
        self.dataset = dataset
        self.indices = indices
        self.batch_size = batch_size
        self.seed = seed
        self.num_workers = num_workers
        self.group_by_shape = group_by_shape
        self.rank = rank
        self.num_processes = num_processes
        self.pin_memory = pin_memory
        self.position = Position(rank)

    def __iter__(self) -> Iterator[list[Sample]]:
        chunks = DataLoader(
            _Samples(self),
            batch_size=self.batch_size,
            num_workers=self.num_workers,
            collate_fn=list,
            pin_memory=self.pin_memory,
            worker_init_fn=worker_init_reset_seed,
            # Otherwise a number is drawn from torch's global generator, which the model uses.
            generator=torch.Generator().manual_seed(self.seed),
        )
        return self._grouped(chunks) if self.group_by_shape else self._in_order(chunks)

    def _in_order(self, chunks: Iterable[list[tuple[int, Sample]]]) -> Iterator[list[Sample]]:
        for chunk in chunks:
            last = chunk[-1][0]
            self.position = Position(last + self.num_processes, (), self.position.batches + 1)
            yield [sample for _, sample in chunk]

    def _grouped(self, chunks: Iterable[list[tuple[int, Sample]]]) -> Iterator[list[Sample]]:
        buckets: tuple[list, list] = ([], [])
        upcoming = list(self.position.pending)
        for number, sample in itertools.chain.from_iterable(chunks):
            if upcoming:
                assert upcoming.pop(0) == number
            bucket = buckets[sample["width"] > sample["height"]]
            bucket.append((number, sample))
            if len(bucket) < self.batch_size:
                continue
            batch = [sample for _, sample in bucket]
            bucket.clear()
            waiting = sorted(number for bucket in buckets for number, _ in bucket)
            first_new = max(self.position.next, number + self.num_processes)
            self.position = Position(first_new, (*waiting, *upcoming), self.position.batches + 1)
            yield batch

    @property
    def epoch_length(self) -> int:
        """Samples in the data; samplers that repeat or leave out some do not change this number."""
        return len(self.dataset)  # type: ignore[arg-type]

    def skip(self, batches: int) -> None:
        """Go to the place behind the first ``batches`` batches; exact where none are grouped."""
        samples = batches * self.batch_size * self.num_processes
        self.position = Position(samples + self.rank, (), batches)

    def state_dict(self) -> dict[str, Any]:
        """The place of this process in the stream, after the last batch that was taken."""
        return {"seed": self.seed, **self.position._asdict()}

    def load_state_dicts(self, states: list[dict[str, Any]]) -> None:
        """Go on where a training stopped.

        Args:
            states: of its processes, by rank. For another number of processes the stream is shared
                out again after the last sample that was taken: none is seen twice, but of a loader
                that groups by shape those that waited to fill a batch are left out.

        Raises:
            KeyError, TypeError, ValueError: no such states, or no loader can have come to them.
        """
        positions = [_checked_position(state) for state in states]
        seed = states[0]["seed"]
        if type(seed) is not int or seed < 0:
            raise ValueError(f"its seed of the data is {seed}")
        self.seed = seed
        if len(states) == self.num_processes:
            self.position = positions[self.rank]
            return
        pending = sum(len(position.pending) for position in positions)
        if pending:
            logger.warning(
                "%d processes become %d: %d samples that waited to fill a batch are left out",
                *(len(states), self.num_processes, pending),
            )
        first = max(position.next for position in positions) - len(states) + 1
        self.position = Position(first + self.rank, (), positions[0].batches)


def _checked_position(state: dict[str, Any]) -> Position:
    """From a checkpoint, which may come from a stranger."""
    position = Position(state["next"], tuple(state["pending"]), state["batches"])
    numbers = [*position.pending, position.next]
    counts = [*numbers, position.batches]
    if any(type(count) is not int or count < 0 for count in counts):
        raise ValueError("its place in the data is not a number")
    # To go on at a number all before it are counted, which must come to an end.
    most = (position.batches + 2) * _MOST_IN_A_BATCH
    if numbers != sorted({*numbers}) or position.next > most:
        raise ValueError(
            f"its place in the data is {position.next} after {position.batches} batches"
        )
    return position


class _Samples(IterableDataset):
    """(number, mapped record) of one process from its position on. Of several workers each makes whole
    chunks of ``batch_size`` in turn, as the DataLoader takes them."""

    def __init__(self, loader: TrainLoader):
        self._loader = loader
        self._position = loader.position  # which the loader moves on

    def __iter__(self) -> Iterator[tuple[int, Sample]]:
        worker = get_worker_info()
        workers, own = (worker.num_workers, worker.id) if worker else (1, 0)
        loader = self._loader
        for place, (number, index) in enumerate(self._places()):
            chunk = place // loader.batch_size
            if chunk % workers != own:
                continue
            numbered = NumberedIndex(index, self._position.batches + chunk)
            with seeded(loader.seed, number):
                sample = loader.dataset[index if loader.group_by_shape else numbered]
            yield number, sample

    def _places(self) -> Iterator[tuple[int, int]]:
        """(number, index) of what is to be made, ascending."""
        stream = self._loader.indices(self._loader.seed)
        passed = 0
        new = itertools.count(self._position.next, self._loader.num_processes)
        for number in itertools.chain(self._position.pending, new):
            yield number, int(next(itertools.islice(stream, number - passed, None)))
            passed = number + 1
