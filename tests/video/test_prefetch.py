"""prefetch: order, bound, errors carried over, and a clean end."""

import threading

import pytest

from d2video.video.prefetch import THREAD_NAME, prefetch


def worker_threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name.startswith(THREAD_NAME)]


@pytest.mark.parametrize("depth", [0, 1, 3, 100])
def test_yields_everything_in_order(depth):
    assert list(prefetch(range(50), depth)) == list(range(50))
    assert not worker_threads()


def test_runs_ahead_but_not_further_than_depth():
    made = threading.Semaphore(0)
    count = 0

    def items():
        nonlocal count
        for i in range(100):
            count += 1
            made.release()
            yield i

    ahead = prefetch(items(), 3)
    next(ahead)
    # One taken, three in the queue and one in the worker's hand: the fifth is made although the
    # consumer asked for a single one, and the sixth is not.
    for _ in range(5):
        assert made.acquire(timeout=5)
    assert not made.acquire(timeout=0.1)
    assert count == 5
    ahead.close()


def test_works_in_another_thread():
    def items():
        yield threading.current_thread()

    assert next(prefetch(items(), 1)) is not threading.current_thread()
    assert next(prefetch(items(), 0)) is threading.current_thread()


def test_error_comes_after_the_items_before_it():
    def items():
        yield 1
        yield 2
        raise KeyError("broken")

    received = []
    with pytest.raises(KeyError, match="broken"):
        received.extend(prefetch(items(), 5))
    assert received == [1, 2]
    assert not worker_threads()


@pytest.mark.parametrize("depth", [1, 2, 8])
@pytest.mark.parametrize("taken", [1, 5, 20])
def test_early_stop_ends_the_worker_and_closes_the_items(depth, taken):
    closed = threading.Event()

    def items():
        try:
            yield from range(20)
        finally:
            closed.set()

    ahead = prefetch(items(), depth)
    for _ in range(taken):
        next(ahead)
    ahead.close()
    assert closed.is_set()
    assert not worker_threads()


def test_no_thread_before_the_first_item():
    ahead = prefetch(range(3), 2)
    assert not worker_threads()
    assert next(ahead) == 0
    ahead.close()
