"""Signals that wait for what is under way."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from spladert.signals import held_signals


@pytest.mark.parametrize(("number", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_a_signal_acts_when_it_may(number: int, raised: type[BaseException]) -> None:
    former = signal.getsignal(number)
    done = []

    def work() -> None:
        with held_signals() as act:
            act()
            os.kill(os.getpid(), number)
            done.append("what was under way")
            act()
            done.append("never")

    with pytest.raises(raised):
        work()
    assert done == ["what was under way"]
    assert signal.getsignal(number) is former


def test_more_of_them_do_not_end_the_cleaning_up() -> None:
    cleaned = []

    def work() -> None:
        with held_signals() as act:
            try:
                os.kill(os.getpid(), signal.SIGINT)
                act()
            finally:
                os.kill(os.getpid(), signal.SIGINT)
                os.kill(os.getpid(), signal.SIGTERM)
                cleaned.append("all")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert cleaned == ["all"]


def test_another_thread_is_left_alone() -> None:
    former = signal.getsignal(signal.SIGINT)
    seen = []

    def run() -> None:
        with held_signals() as act:
            act()
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [former]
