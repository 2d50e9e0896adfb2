"""Every sample of a batch is told the same number, whatever the processes and workers."""

import itertools
from types import SimpleNamespace

import pytest
import torch.utils.data as torchdata
from detectron2.data.common import ToIterableDataset
from detectron2.data.samplers import TrainingSampler

from d2video.data.batch_numbers import BatchNumberSampler, NumberedIndex
from d2video.data.retry import RetryingDataset
from d2video.utils.errors import BrokenFile

BATCH, SIZE = 3, 10


class Records(torchdata.Dataset):
    def __len__(self):
        return SIZE

    def __getitem__(self, index):
        assert type(index) is int
        return {"index": index}


def stream(rank, ranks, worker, workers, monkeypatch, first_batch=0):
    """Samples of one worker of one process, in its order."""
    sampler = TrainingSampler(SIZE, seed=5)
    sampler._rank, sampler._world_size = rank, ranks
    numbered = BatchNumberSampler(sampler, BATCH, first_batch)
    dataset = RetryingDataset(Records(), lambda record: record, max_retries=0)
    info = SimpleNamespace(id=worker, num_workers=workers) if workers else None
    monkeypatch.setattr(torchdata, "get_worker_info", lambda: info)
    return itertools.islice(iter(ToIterableDataset(dataset, numbered, shard_chunk_size=BATCH)), 36)


@pytest.mark.parametrize("workers", [0, 2])
def test_numbers_are_those_of_the_steps(workers, monkeypatch):
    seen = {}
    for rank in range(2):
        per_worker = [
            in_batches(stream(rank, 2, worker, workers, monkeypatch))
            for worker in range(max(workers, 1))
        ]
        # A loader takes a batch from each worker in turn.
        steps = [batch for turn in zip(*per_worker, strict=True) for batch in turn]
        for step, batch in enumerate(steps):
            assert [sample["batch_number"] for sample in batch] == [step] * BATCH
        seen[rank] = [sample["index"] for batch in steps for sample in batch]
    # The samples are what they were without numbers.
    plain = list(itertools.islice(TrainingSampler(SIZE, seed=5), 24))
    assert [i for pair in zip(seen[0], seen[1], strict=True) for i in pair][:24] == plain


def in_batches(samples):
    samples = list(samples)
    return [samples[k : k + BATCH] for k in range(0, len(samples), BATCH)]


def test_numbers_go_on_where_a_training_stopped():
    numbered = BatchNumberSampler(range(5), 2, first_batch=7)
    assert [*numbered] == [(0, 7), (1, 7), (2, 8), (3, 8), (4, 9)]


def test_a_replacement_is_for_the_same_batch_and_records_stay_as_they_are():
    records = [{"index": k} for k in range(2)]

    def mapper(record):
        if record["index"] == 0:
            raise BrokenFile("broken")
        return record

    dataset = RetryingDataset(records, mapper, max_retries=50)
    assert dataset[NumberedIndex(0, 4)] == {"index": 1, "batch_number": 4}
    assert dataset[0] == {"index": 1}
    assert records == [{"index": 0}, {"index": 1}]
