"""Results of a comparison as benchmarks/compare.py keeps them, for a model of 1,000,000 parameters."""

from __future__ import annotations

from typing import Any

from benchmarks.suite.results import summarize
from benchmarks.suite.workload import SHAPES

FLOORS = {"threads": 2, "memory_gb_s": 10.0, "fp32_gflop_s": 100.0, "bf16_gflop_s": None, "int8_gop_s": 400.0}


def content_of(raw: dict[str, dict[str, list[Any]]]) -> dict[str, Any]:
    content: dict[str, Any] = {
        "machine": {
            "cpu": "a CPU", "family": "1", "model": "2", "cores": 2, "memory_gb": 1.0, "flags": ["avx2"], "system": "x",
        },
        "settings": {
            "architecture": "A", "parameters": 1_000_000, "threads": 2, "max_length": 64, "top_k": 256, "mix_texts": 50,
        },
        "floors": FLOORS,
        "versions": {name: {"torch": "2"} for name in raw},
        "not_run": {"openvino bf16": "not on this CPU"},
        "agreement": {name: {"texts": 64, "overlap": 0.975, "weight_error": 2e-3} for name in raw},
        "rounds": 2,
        "raw": raw,
        "warnings": ["other processes took 15% of the 2 cores' time"],
    }  # fmt: skip
    content["engines"] = {name: summarize(name, one["shapes"], one["mix"], content) for name, one in raw.items()}
    return content


def raw_of(milliseconds: float) -> dict[str, list[Any]]:
    """Two rounds and a mix of an engine that needs so long for a text, whatever its length."""
    samples = {str(shape): [milliseconds * shape.batch] * 3 for shape in SHAPES}
    one = {"samples_ms": samples, "cold_start_s": 1.5, "peak_mb": 300.0}
    return {"shapes": [one, one], "mix": [{"mix_s": milliseconds / 10, "peak_mb": 400.0}]}
