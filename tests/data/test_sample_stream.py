"""The stream of samples: the same whatever the workers and processes, and taken up at any place."""

import itertools
import random

import numpy as np
import pytest
import torch
from detectron2.structures import Instances
from torch.utils.data import Dataset

from d2video.data.bad_samples import RetryingDataset
from d2video.data.sample_stream import NumberedIndex, TrainLoader
from d2video.utils.errors import BrokenFile
from tests.helpers.pretend_gpu import on_pretend_gpu

SIZE = 10


def shuffled(seed):
    rng = np.random.default_rng(seed)
    while True:
        yield from rng.permutation(SIZE).tolist()


class Drawing(Dataset):
    """Samples that show what they are for, and one draw from each global generator."""

    def __getitem__(self, index):
        record = {"index": index}
        if isinstance(index, NumberedIndex):
            record = {"index": index.sample, "batch_number": index.batch_number}
        shape = {"width": index % 5, "height": 2} if isinstance(index, int) else {}
        drawn = (random.random(), float(np.random.rand()), float(torch.rand(())))
        return record | shape | {"drawn": drawn}


def loader(**changes):
    arguments = {"batch_size": 3, "seed": 5} | changes
    return TrainLoader(Drawing(), shuffled, **arguments)


def take(source, count):
    return list(itertools.islice(source, count))


class Pictures(Dataset):
    """Samples with tensors of their own, in a list, and within an object."""

    def __getitem__(self, index):
        instances = Instances((4, 4), gt_classes=torch.ones(2))
        return {
            "image": torch.ones(3),
            "clip": [torch.ones(3)],
            "instances": instances,
            "name": "a",
        }


def pinned():
    """Which tensors of a sample a GPU takes without a wait."""
    batches = TrainLoader(Pictures(), shuffled, 2, seed=5, pin_memory=True)
    sample = next(iter(batches))[1]
    assert sample["name"] == "a"
    tensors = (sample["image"], sample["clip"][0], sample["instances"].gt_classes)
    return [tensor.is_pinned() for tensor in tensors]


def test_samples_in_pinned_memory():
    assert on_pretend_gpu(pinned) == [True, True, False]


@pytest.mark.parametrize("group", [False, True])
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_workers_change_nothing(workers, group):
    alone = take(loader(group_by_shape=group), 8)
    assert take(loader(num_workers=workers, group_by_shape=group), 8) == alone
    draws = [value for batch in alone for sample in batch for value in sample["drawn"]]
    assert len(set(draws)) == len(draws)


@pytest.mark.parametrize("group", [False, True])
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("stop", [1, 4, 7])
def test_a_loader_goes_on_where_another_stopped(workers, group, stop):
    for rank in range(2):
        given = {"group_by_shape": group, "rank": rank, "num_processes": 2}
        whole = take(loader(**given), 12)
        first = loader(num_workers=workers, **given)
        assert take(first, stop) == whole[:stop]
        states = [first.state_dict()] * 2
        second = loader(num_workers=workers, **given | {"seed": 99})
        second.load_state_dicts(states)
        assert take(second, 12 - stop) == whole[stop:]


def test_groups_leave_samples_waiting():
    """Or the test above would not see whether they are kept."""
    source = loader(group_by_shape=True, num_processes=2)
    waiting = []
    for _ in itertools.islice(source, 8):
        waiting.append(len(source.position.pending))
    assert max(waiting) > 0


def test_a_second_iteration_goes_on():
    source = loader()
    whole = take(loader(), 5)
    assert take(source, 2) + take(source, 3) == whole


@pytest.mark.parametrize("workers", [0, 2])
def test_processes_share_one_stream_and_number_batches_alike(workers):
    alone = take(loader(batch_size=6), 5)
    pair = [take(loader(rank=rank, num_processes=2, num_workers=workers), 5) for rank in range(2)]
    for step, batches in enumerate(zip(alone, *pair, strict=True)):
        whole, *parts = batches
        key = lambda sample: sample["drawn"]  # noqa: E731
        assert sorted(itertools.chain(*parts), key=key) == sorted(whole, key=key)
        assert {sample["batch_number"] for sample in whole} == {step}


def test_numbers_of_batches_go_on():
    source = loader()
    source.skip(7)
    assert [batch[0]["batch_number"] for batch in take(source, 2)] == [7, 8]
    assert take(source, 1) == take(loader(), 10)[9:]


@pytest.mark.parametrize("group", [False, True])
def test_other_processes_see_no_sample_twice(group, caplog):
    """Two processes stop, three go on."""
    olds = [loader(rank=rank, num_processes=2, group_by_shape=group) for rank in range(2)]
    seen = [draws(take(old, 4)) for old in olds]
    news = [
        loader(batch_size=2, rank=rank, num_processes=3, group_by_shape=group) for rank in range(3)
    ]
    for new in news:
        new.load_state_dicts([old.state_dict() for old in olds])
        seen.append(draws(take(new, 4)))
    everything = list(itertools.chain(*seen))
    assert len(set(everything)) == len(everything)
    assert ("left out" in caplog.text) is group
    if not group:  # and leave none out
        assert set(everything) == set(draws(take(loader(batch_size=1), len(everything))))


def draws(batches):
    return [sample["drawn"] for batch in batches for sample in batch]


def test_loading_leaves_the_global_generators_alone():
    random.seed(0), np.random.seed(0), torch.manual_seed(0)
    for workers in (0, 2):
        take(loader(num_workers=workers), 3)
    drawn = random.random(), np.random.rand(), torch.rand(())
    random.seed(0), np.random.seed(0), torch.manual_seed(0)
    assert drawn == (random.random(), np.random.rand(), torch.rand(()))


class Fragile(Dataset):
    """A mapper's data: record 3 cannot be read."""

    def __len__(self):
        return SIZE

    def __getitem__(self, index):
        return {"index": index}


def fragile_mapper(record):
    if record["index"] == 3:
        raise BrokenFile("broken")
    return record


@pytest.mark.parametrize("stop", [2, 5])
def test_replacements_are_the_same_after_a_stop(stop):
    def make(workers):
        data = RetryingDataset(Fragile(), fragile_mapper, 5)
        return TrainLoader(data, shuffled, 3, seed=1, num_workers=workers)

    whole = take(make(0), 8)
    assert any("bad_samples" in sample for batch in whole[stop:] for sample in batch)
    first, second = make(2), make(1)
    assert take(first, stop) == whole[:stop]
    second.load_state_dicts([first.state_dict()])
    assert take(second, 8 - stop) == whole[stop:]
