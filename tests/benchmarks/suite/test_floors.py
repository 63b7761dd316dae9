from __future__ import annotations

import pytest

from benchmarks.suite.floors import bandwidth_gb_s, best_seconds, floor_ms
from support.clock import Clock
from support.comparison import FLOORS


def test_a_floor_is_the_larger_of_reading_and_computing() -> None:
    assert floor_ms(FLOORS, "int8", 100_000_000, 1, 8) == pytest.approx(10.0)  # 100 MB at 10 GB/s; computing is 4 ms
    assert floor_ms(FLOORS, "int8", 100_000_000, 32, 64) == pytest.approx(1024.0)  # 409.6 GOP at 400
    assert floor_ms(FLOORS, "fp32", 100_000_000, 1, 8) == pytest.approx(40.0)
    assert floor_ms(FLOORS, "bf16", 100_000_000, 1, 8) is None  # not measured on this CPU


def test_the_best_of_several_calls_without_the_first() -> None:
    clock, durations = Clock(), iter([0.125, 1.0, 0.5, 0.75])
    assert best_seconds(lambda: clock.passes(next(durations)), repetitions=3, clock=clock) == 0.5
    assert next(durations, None) is None


def test_bandwidth_counts_the_bytes_of_all_threads() -> None:
    clock = Clock(step=0.5)  # a pass over the arrays takes half a second, then
    assert bandwidth_gb_s(3, read_bytes=1 << 20, clock=clock) == pytest.approx(3 * 2**20 / 0.5 / 1e9)
