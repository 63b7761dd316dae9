"""From samples to figures: medians and percentiles over all rounds, and ratios."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from spladert.bench.samples import p99

from .engines import engine
from .floors import floor_ms
from .workload import Shape, shapes_of


def summarize_samples(rounds: Sequence[Sequence[float]], texts: int) -> dict[str, Any]:
    """Figures of one shape, milliseconds, over the samples of all rounds.

    p50 is the median of the rounds' medians, so that a round with more samples has no more say. p99 is None with fewer
    than 100 samples; the largest is given always.
    """
    samples = [value for one in rounds for value in one]
    p50 = statistics.median(statistics.median(one) for one in rounds)
    return {
        "p50_ms": p50,
        "p99_ms": p99(samples),
        "max_ms": max(samples),
        "samples": len(samples),
        "texts_per_s": texts / p50 * 1e3,
    }


def summarize(
    name: str, rounds: Sequence[Mapping[str, Any]], mixes: Sequence[Mapping[str, Any]], content: Mapping[str, Any]
) -> dict[str, Any]:
    """One engine's figures. `rounds` and `mixes` are results of the worker's tasks `shapes` and `mix`."""
    precision = engine(name).precision
    summary: dict[str, Any] = {"precision": precision, "shapes": {}}
    for shape in shapes_of(name for one in rounds for name in one["samples_ms"]):
        taken = [one["samples_ms"][str(shape)] for one in rounds if str(shape) in one["samples_ms"]]
        figures = summarize_samples(taken, shape.batch)
        floor = _floor(content, precision, shape)
        figures["over_floor"] = figures["p50_ms"] / floor if floor else None
        summary["shapes"][str(shape)] = figures
    if rounds:
        summary["cold_start_s"] = statistics.median(one["cold_start_s"] for one in rounds)
        summary["peak_mb"] = statistics.median(one["peak_mb"] for one in rounds)
    if mixes:
        seconds = statistics.median(one["mix_s"] for one in mixes)
        summary["mix_s"] = seconds
        summary["mix_texts_per_s"] = content["settings"]["mix_texts"] / seconds
        summary["mix_peak_mb"] = statistics.median(one["peak_mb"] for one in mixes)
        summary["mix_runs"] = len(mixes)
    return summary


def _floor(content: Mapping[str, Any], precision: str, shape: Shape) -> float | None:
    if not content["floors"]:
        return None
    return floor_ms(content["floors"], precision, content["settings"]["parameters"], shape.batch, shape.length)
