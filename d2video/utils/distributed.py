"""What all processes of a run decide together, and work that they share out."""

import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import count
from typing import TypeVar, cast

import torch
import torch.distributed as dist
from detectron2.utils import comm

from d2video.utils.errors import UserError

T = TypeVar("T")

_POLL = 0.2  # seconds
_LONGEST_WAIT = timedelta(days=30)  # of a barrier; SharedWork.wait ends it before
_numbers = count()  # of the SharedWork in a process, the same in all


def highest(number: int) -> int:
    """The highest of all processes' numbers; every process calls this at the same place.

    Called in every step: one number in one reduction, over gloo, so that no process waits for its GPU.
    """
    if comm.get_world_size() == 1:
        return number
    shared = torch.tensor(int(number))
    dist.all_reduce(shared, dist.ReduceOp.MAX, group=comm._get_global_gloo_group())
    return int(shared)


def decided_by_main(decide: Callable[[], T]) -> T:
    """What process 0 decides; every process calls this at the same place.

    Raises:
        UserError: of ``decide``, in process 0.
        SystemExit: the same, in the others, so that it is reported once.
    """
    if comm.get_world_size() == 1:
        return decide()
    error = None
    decided: list[object] = [None, True]  # and whether it failed
    if comm.is_main_process():
        try:
            decided = [decide(), False]
        except UserError as fault:
            error = fault
    dist.broadcast_object_list(decided, src=0, group=comm._get_global_gloo_group())
    if error is not None:
        raise error
    if decided[1]:
        sys.exit(1)
    return cast(T, decided[0])


class SharedWork:
    """Items by number, each taken by the process that is free first; counters and messages of all.

    Every process makes it at the same place. An item whose process dies is not taken again.

    Args:
        size: number of items.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._read: dict[str, int] = {}  # messages by channel
        self._group: dist.ProcessGroup | None = None
        # Of one process, too: one mechanism.
        self._store: dist.Store = dist.HashStore()
        if comm.get_world_size() > 1:
            group = dist.new_group(backend="gloo", timeout=_LONGEST_WAIT)
            self._group = cast(dist.ProcessGroup, group)
            shared = dist.distributed_c10d._get_default_store()
            self._store = dist.PrefixStore(f"shared_work_{next(_numbers)}", shared)

    def __iter__(self) -> Iterator[int]:
        """Take the items that no process has taken, one by one."""
        while (number := self.add("taken", 1) - 1) < self._size:
            yield number

    def add(self, counter: str, number: int) -> int:
        """Add to a counter, which begins at 0, and return its sum over all processes."""
        return self._store.add(counter, number)

    def total(self, counter: str) -> int:
        return self.add(counter, 0)

    def send(self, channel: str, text: str) -> None:
        """Send a message to the process that receives those of a channel."""
        self._store.set(f"{channel}_{self.add(channel, 1)}", text)

    def received(self, channel: str) -> Iterator[str]:
        """The messages of a channel that have come since the last call; one process receives them."""
        read = self._read.get(channel, 0)
        self._read[channel] = self.total(channel)
        for number in range(read, self._read[channel]):
            key = f"{channel}_{number + 1}"
            yield self._store.get(key).decode()
            self._store.delete_key(key)

    def wait(self, look: Callable[[], object], patience: float) -> None:
        """Wait until all processes are here.

        Args:
            look: called meanwhile; what it returns changes as long as the others are at work.
            patience: seconds to wait without such a change.

        Raises:
            UserError: another process does not answer.
            RuntimeError: a connection to another process has closed, as torch says it.
        """
        if self._group is None:
            return
        barrier = dist.barrier(group=self._group, async_op=True)
        assert barrier is not None
        seen, since = look(), time.monotonic()
        while not barrier.is_completed():
            time.sleep(_POLL)
            if (now := look()) != seen:
                seen, since = now, time.monotonic()
            elif time.monotonic() - since > patience:
                raise UserError(
                    f"another process has done nothing for {patience / 60:.0f} minutes: look at its "
                    "machine, and give the same command again"
                )
        barrier.wait()
