from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from spladert.files.ahead import Ahead, StoppedError


def test_items_keep_their_order_and_the_error_comes_after_them() -> None:
    def items() -> Iterator[int]:
        yield from range(100)
        raise ValueError("at the end")

    ahead = Ahead(items())
    ahead.start()
    assert [next(ahead) for _ in range(100)] == list(range(100))
    with pytest.raises(ValueError, match="at the end"):
        next(ahead)


def test_only_one_item_is_made_ahead() -> None:
    made: list[int] = []
    asked = threading.Semaphore(0)

    def items() -> Iterator[int]:
        for i in range(10):
            made.append(i)
            asked.release()
            yield i

    ahead = Ahead(items())
    ahead.start()
    for i in range(8):
        for _ in range(2 if i == 0 else 1):
            assert asked.acquire(timeout=10)
        # One waits to be taken, one is made and waits for its place.
        assert made == list(range(i + 2))
        assert next(ahead) == i
    ahead.stop()
    ahead.join()


def test_stopping_lets_both_sides_go() -> None:
    release = threading.Event()

    def items() -> Iterator[int]:
        yield 1
        yield 2
        yield 3
        release.wait(10)

    ahead = Ahead(items())
    ahead.start()
    assert next(ahead) == 1
    ahead.stop()
    ahead.join()  # the thread was waiting for a place
    with pytest.raises(StoppedError):
        next(ahead)
    waiting = Ahead(release.wait(10) for _ in range(1))
    waiting.start()
    threading.Timer(0.1, waiting.stop).start()
    with pytest.raises(StoppedError):
        next(waiting)
    release.set()
    waiting.join()


def test_what_a_stage_works_on_ends_when_it_is_stopped() -> None:
    ahead = Ahead(iter([1]))
    items = ahead.until_stopped(range(3))
    assert next(items) == 0
    ahead.stop()
    with pytest.raises(StoppedError):
        next(items)
