"""SIGINT and SIGTERM, held back while what they would leave half done is under way."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def held_signals() -> Iterator[Callable[[], None]]:
    """Gives a function that lets a signal act that has come since: KeyboardInterrupt, or SystemExit for SIGTERM.

    One that it is never called for is lost: what it would have ended is done. In another thread than the main one,
    which alone gets signals, nothing is held.
    """
    received: list[int] = []

    def act() -> None:
        if received:
            raise KeyboardInterrupt if received[0] == signal.SIGINT else SystemExit(128 + received[0])

    if threading.current_thread() is not threading.main_thread():
        yield act
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    former = {number: signal.signal(number, lambda number, _: received.append(number)) for number in numbers}
    try:
        yield act
    finally:
        for number, handler in former.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
