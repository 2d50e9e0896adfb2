"""Work done ahead in a background thread, with a bound on how far ahead."""

import queue
import threading
from collections.abc import Generator, Iterable
from contextlib import closing, nullcontext
from typing import Any, TypeVar

T = TypeVar("T")


def prefetch(items: Iterable[T], depth: int) -> Generator[T, None, None]:
    """Iterate over ``items`` in a worker thread that runs at most ``depth`` items ahead.

    Meant for iterables that decode, read or resize: libraries such as PyAV and Pillow release the
    interpreter's lock while they work, so that the consumer computes meanwhile.

    An exception of ``items`` is raised here, after the items that came before it. When the consumer
    stops early (the generator is closed or collected), the worker ends, a generator in ``items`` is
    closed in its own thread, and only then does this one return. Until the first ``next`` no thread
    exists.

    Args:
        items: any iterable. It is consumed in another thread.
        depth: greatest number of finished items that wait for the consumer (a further one may be in
            the making); 0 iterates in the consumer's own thread.
    """
    assert depth >= 0, depth
    if depth == 0:
        yield from items
        return

    # Each message is (item, exception, is_last).
    messages: queue.Queue[tuple[Any, BaseException | None, bool]] = queue.Queue(maxsize=depth)
    stopped = threading.Event()

    def work() -> None:
        error: BaseException | None = None
        try:
            iterator = iter(items)
            with closing(iterator) if isinstance(iterator, Generator) else nullcontext():
                for item in iterator:
                    if stopped.is_set():
                        return
                    messages.put((item, None, False))
        except BaseException as caught:  # carried to the consumer, which raises it
            error = caught
        if not stopped.is_set():
            messages.put((None, error, True))

    worker = threading.Thread(target=work, name="d2video-prefetch", daemon=True)
    worker.start()
    try:
        while True:
            item, error, is_last = messages.get()
            if is_last:
                if error is not None:
                    raise error
                return
            yield item
            del item  # the consumer's copy is the only one while the next item is awaited
    finally:
        # After `stopped` the worker puts at most one more message; emptying the queue makes room
        # for it, so the worker cannot hang in `put`.
        stopped.set()
        while not messages.empty():
            messages.get_nowait()
        worker.join()
