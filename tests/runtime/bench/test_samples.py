from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spladert.bench.samples import call_at_once, p99, percentile, sample, warm_up
from support.clock import Clock


def test_a_warm_up_is_one_call_or_as_many_as_fit() -> None:
    clock, calls = Clock(), []

    def call() -> None:
        calls.append(clock.now)
        clock.passes(0.25)

    warm_up(call, 0.0, clock)
    assert len(calls) == 1
    warm_up(call, 1.0, clock)
    assert len(calls) == 1 + 4


def test_samples_are_the_milliseconds_of_each_call() -> None:
    clock, durations = Clock(), iter([0.5, 0.25, 0.125, 1.0])
    assert sample(lambda: clock.passes(next(durations)), 0.8, clock=clock) == [500.0, 250.0, 125.0]


@pytest.mark.parametrize(
    ("seconds", "settings", "samples"),
    [
        (0.0, {}, 1),
        (1.0, {}, 4),
        (1.0, {"most": 3}, 3),
        (1.0, {"least": 6}, 6),
        (0.0, {"least": 6}, 6),
        (1.0, {"least": 6, "limit": 1.25}, 5),
        (1.0, {"limit": 0.0}, 1),
    ],
)
def test_how_many_samples_are_taken(seconds: float, settings: dict[str, float], samples: int) -> None:
    clock = Clock()
    taken = sample(lambda: clock.passes(0.25), seconds, clock=clock, **settings)
    assert taken == [250.0] * samples


def test_percentiles_are_samples_by_nearest_rank() -> None:
    assert percentile(range(1, 101), 0.99) == 99
    assert percentile(range(1, 101), 1.0) == 100
    assert percentile([3.0], 0.99) == 3.0


@given(st.lists(st.floats(0, 1e3), min_size=1), st.floats(0.01, 1))
def test_a_percentile_is_the_least_sample_that_so_many_do_not_exceed(samples: list[float], share: float) -> None:
    found = percentile(samples, share)
    assert found in samples
    assert sum(value <= found for value in samples) >= share * len(samples)
    assert sum(value < found for value in samples) < share * len(samples)


def test_p99_needs_a_hundred_samples() -> None:
    assert p99([1.0] * 98 + [7.0]) is None
    assert p99([1.0] * 98 + [7.0] * 2) == 7.0


def test_callers_call_at_once_and_numbers_are_each_given_once() -> None:
    everyone = threading.Barrier(3, timeout=60)  # breaks unless three callers are inside at once
    seen: list[int] = []

    def call(number: int) -> None:
        if number < 3:
            everyone.wait()
        seen.append(number)

    calls, seconds = call_at_once(call, 3, 0.05)
    assert sorted(seen) == list(range(calls))
    assert calls >= 3
    assert seconds >= 0.05


def test_a_caller_that_fails_is_heard() -> None:
    def call(number: int) -> None:
        raise ValueError("no such text")

    with pytest.raises(ValueError, match="no such text"):
        call_at_once(call, 2, 0.0)
