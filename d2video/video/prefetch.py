"""Work done ahead in a background thread, with a bound on how far ahead."""

from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")

FRAMES_AHEAD = 8  # decoded before they are asked for, where nothing else is said
THREAD_NAME = "d2video-prefetch"
_END: Any = object()


def prefetch(items: Iterable[T], depth: int) -> Generator[T, None, None]:
    """Iterate over ``items`` in a worker thread that runs at most ``depth`` items ahead.

    For iterables that decode, read or resize: PyAV and Pillow release the interpreter's lock while
    they work.

    An exception of ``items`` is raised after the items that came before it. When the consumer stops
    early (the generator is closed or collected), a generator in ``items`` is closed in its thread,
    and the worker ends before this one returns. No thread exists before the first ``next``.

    Args:
        depth: greatest number of finished items that wait for the consumer, besides one in the
            making; 0 iterates in the consumer's thread.
    """
    assert depth >= 0, depth
    if depth == 0:
        yield from items
        return
    iterator = iter(items)
    worker = ThreadPoolExecutor(1, THREAD_NAME)
    ahead: deque[Future[T]] = deque()
    try:
        for _ in range(depth + 1):
            ahead.append(worker.submit(next, iterator, _END))
        while (item := ahead.popleft().result()) is not _END:
            ahead.append(worker.submit(next, iterator, _END))
            yield item
            del item  # the consumer's copy is the only one while the next item is awaited
    finally:
        for future in ahead:
            future.cancel()
        if isinstance(iterator, Generator):
            worker.submit(iterator.close)
        worker.shutdown()
