"""The GPU benchmark: what of it is arithmetic, and that it says at once where there is no GPU."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spladert import SparseVector
from support.clock import Clock
from support.paths import ROOT

pytest.importorskip("torch", reason="needs the export extra: pip install 'spladert[export]'")
pytest.importorskip("onnx", reason="needs the export extra: pip install 'spladert[export]'")
pytest.importorskip("onnxruntime", reason="needs onnxruntime: pip install 'spladert[cpu]'")

import torch

from benchmarks import gpu


def vector(**entries: float) -> SparseVector:
    ids = [int(name[1:]) for name in entries]
    return SparseVector(np.array(ids, np.int32), np.array(list(entries.values()), np.float32))


def test_without_a_gpu_it_says_so() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    command = [sys.executable, "-m", "benchmarks.gpu", "checkpoint", "bundle"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 1
    assert done.stderr.startswith("no CUDA device here: run this on a machine with an NVIDIA GPU")


def test_the_floor_is_the_larger_of_reading_and_computing() -> None:
    floors = gpu.Floors("a GPU", bytes_per_second=1e12, fp16_flops=1e14)
    costs = gpu.work(hidden=768, vocabulary=50_000, encoder_weights=100_000_000, bytes_per_weight=2)
    assert costs == gpu.Work(276_800_000, 276_800_000)
    assert costs.least_seconds(floors, tokens=1) == pytest.approx(276.8e-6)  # reads all weights
    assert costs.least_seconds(floors, tokens=10_000) == pytest.approx(276.8e6 * 1e4 / 1e14)


def test_the_work_of_a_model_is_its_matrices(tiny_checkpoint: Path) -> None:
    from transformers import AutoModelForMaskedLM

    model = AutoModelForMaskedLM.from_pretrained(tiny_checkpoint)
    layer = 48 * 3 * 48 + 48 * 48 + 48 * 2 * 56 + 56 * 48  # Wqkv, Wo, Wi, Wo
    assert gpu.encoder_matrices(model) == 3 * layer + 48 * 48  # and the head's dense layer


def test_difference_from_the_cpu() -> None:
    expected = [vector(i7=2.0, i3=1.0, i5=0.5), vector(i1=1.0)]
    assert gpu.difference(expected, expected) == {"max_weight_error": 0.0, "top10_overlap": 1.0}
    found = [vector(i7=2.1, i3=1.0, i9=0.5), vector(i1=1.0)]
    measured = gpu.difference(found, expected)
    assert measured["max_weight_error"] == pytest.approx(0.1)
    assert measured["top10_overlap"] == pytest.approx((2 / 3 + 1) / 2)
    assert gpu.difference([vector(i7=9.0, i2=3.0)], [vector(i7=9.0)])["max_weight_error"] == 0.0
    assert gpu.difference([vector(i1=5.0, i2=3.0)], [vector(i1=5.0, i3=2.0)])["max_weight_error"] == pytest.approx(1.0)
    assert gpu.difference([vector()], [vector()]) == {"max_weight_error": 0.0, "top10_overlap": 1.0}


@pytest.mark.parametrize(
    ("precision", "error", "overlap", "fine"),
    [
        ("fp32", 9e-4, 0.0, True),
        ("fp32", 2e-3, 1.0, False),
        ("fp32", float("nan"), 1.0, False),
        ("fp16", 0.1, 0.98, True),
        ("int8", 0.0, 0.96, False),
        ("fp16", 0.0, float("nan"), False),
    ],
)
def test_what_is_close_enough_to_be_timed(precision: str, error: float, overlap: float, fine: bool) -> None:
    assert gpu.acceptable(precision, {"max_weight_error": error, "top10_overlap": overlap}) is fine


def test_an_engine_that_fails_is_reported_and_one_that_is_wrong_is_found() -> None:
    expected = [vector(i7=2.0, i3=1.0)]

    def fails() -> gpu.Encode:
        raise RuntimeError("no such provider\nand more")

    makers: dict[str, Any] = {
        "right": ("fp32", lambda: lambda texts: expected),
        "wrong": ("fp32", lambda: lambda texts: [vector(i7=2.5, i3=1.0)]),
        "fails": ("fp16", fails),
    }
    engines, results = gpu.check(makers, ["a"], expected)
    assert set(engines) == {"right", "wrong"}
    assert [results[name].get("wrong") for name in makers] == [False, True, None]
    assert results["fails"] == {"problem": "RuntimeError: no such provider"}


def test_timed_engines_end_up_in_the_table() -> None:
    """An engine that takes 2 ms a call and 0.1 ms a text."""
    clock = Clock()
    floors = gpu.Floors("a GPU", 1e12, 1e14)
    results: dict[str, Any] = {"ours": {}, "theirs": {"problem": "it does not start"}}
    engines = {"ours": lambda texts: clock.passes(0.002 + 0.0001 * len(texts))}
    costs = gpu.work(768, 50_000, 100_000_000, 2)
    gpu.measure(engines, results, ["query"], ["text"] * max(gpu.BATCHES), costs, floors, 64, clock)
    ours = results["ours"]
    assert ours["latency_ms"] == pytest.approx({"p50": 2.1, "p90": 2.1, "p99": 2.1})
    assert ours["texts_per_second"] == pytest.approx({batch: batch / (0.002 + 0.0001 * batch) for batch in gpu.BATCHES})
    # At the best batch, 256: 276.8e6 operations a token, 64 tokens a text, at 1e14 a second.
    assert ours["share_of_floor"] == pytest.approx(276.8e6 * 64 * 256 / 1e14 / (0.002 + 0.0256))
    lines = gpu.table(results, 0.277).splitlines()
    assert lines[2] == "| ours | 2.10 | 2.10 | 9,275 | 256 | 164% |"
    assert lines[3] == "| theirs | it does not start | | | | |"
    assert lines[-1].endswith("0.277 ms")
