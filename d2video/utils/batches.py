"""TEST.VIDEO.BATCH: what a model takes of a video at once."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


def comes_one_at_a_time(frames: object) -> bool:
    """Whether an answer is due before the next frame is asked for: the iterator of a camera, or of frames
    that a program pushes, has an attribute ``one_at_a_time`` that is true."""
    return getattr(frames, "one_at_a_time", False)


def in_batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items in lists of ``size``, the last of which may be shorter; of 1 if they come one at a time.

    Memory holds one list.
    """
    if comes_one_at_a_time(items):
        size = 1
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
        del batch  # not kept while the next one is read
