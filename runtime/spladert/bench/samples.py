"""Timing of calls, and figures out of samples."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

ENOUGH = 100  # samples, for a 99th percentile
WARM_UP = 0.3  # seconds

Clock = Callable[[], float]  # seconds


def warm_up(call: Callable[[], object], seconds: float = WARM_UP, clock: Clock = time.perf_counter) -> None:
    """Call at least once, and until `seconds` are over."""
    begun = clock()
    call()
    while clock() - begun < seconds:
        call()


def sample(
    call: Callable[[], object],
    seconds: float,
    *,
    least: int = 1,
    most: float = math.inf,
    limit: float = math.inf,
    clock: Clock = time.perf_counter,
) -> list[float]:
    """Milliseconds of each call, at least one.

    Calls are made for `seconds` and until there are `least` samples; none is begun once there are `most`, or `limit`
    seconds are over.
    """
    taken: list[float] = []
    begun = now = clock()
    while not taken or ((len(taken) < least or now - begun < seconds) and len(taken) < most and now - begun < limit):
        started = clock()
        call()
        now = clock()
        taken.append((now - started) * 1e3)
    return taken


def percentile(samples: Sequence[float], share: float) -> float:
    """The smallest sample that at least `share` of the samples do not exceed (nearest rank)."""
    ordered = sorted(samples)
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)]


def p99(samples: Sequence[float]) -> float | None:
    """The 99th percentile; None with fewer than ENOUGH samples."""
    return percentile(samples, 0.99) if len(samples) >= ENOUGH else None


def call_at_once(
    call: Callable[[int], object], callers: int, seconds: float, clock: Clock = time.perf_counter
) -> tuple[int, float]:
    """Call from `callers` threads for `seconds`, each at least once: how many calls, and seconds until the last ended.

    `call` is given numbers from 0 on, one a call, in the order in which they begin.
    """
    numbers = itertools.count()
    begun = clock()

    def one_caller() -> int:
        made = 0
        while not made or clock() - begun < seconds:
            call(next(numbers))
            made += 1
        return made

    with ThreadPoolExecutor(callers) as pool:
        running = [pool.submit(one_caller) for _ in range(callers)]
        made = sum(caller.result() for caller in running)
    return made, clock() - begun
