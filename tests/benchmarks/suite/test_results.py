from __future__ import annotations

from benchmarks.suite.results import summarize, summarize_samples
from support.comparison import content_of, raw_of


def test_a_round_with_more_samples_has_no_more_say() -> None:
    figures = summarize_samples([[10.0] * 90, [20.0], [20.0]], texts=4)
    assert figures["p50_ms"] == 20.0
    assert figures["texts_per_s"] == 200.0
    assert figures["samples"] == 92
    assert figures["p99_ms"] is None  # too few samples for it
    assert figures["max_ms"] == 20.0


def test_p99_is_given_with_enough_samples() -> None:
    assert summarize_samples([[1.0] * 99, [7.0] * 2], texts=1)["p99_ms"] == 7.0


def test_rounds_of_other_shapes_are_figures_of_their_own() -> None:
    rounds = [
        {"samples_ms": {"1 x 8": [1.0]}, "cold_start_s": 1.0, "peak_mb": 10.0},
        {"samples_ms": {"1 x 8": [3.0], "8 x 256": [40.0]}, "cold_start_s": 3.0, "peak_mb": 30.0},
    ]
    figures = summarize("spladert cpu-int8", rounds, [], content_of({"pytorch": raw_of(100)}))
    assert list(figures["shapes"]) == ["1 x 8", "8 x 256"]
    assert figures["shapes"]["1 x 8"]["p50_ms"] == 2.0
    assert figures["shapes"]["8 x 256"]["texts_per_s"] == 200.0
    assert figures["shapes"]["8 x 256"]["over_floor"] == 40.0 / (2 * 1e6 * 8 * 256 / 400 / 1e6)
    assert (figures["cold_start_s"], figures["peak_mb"]) == (2.0, 20.0)
