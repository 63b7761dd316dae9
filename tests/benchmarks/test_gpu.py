"""The GPU benchmark: what of it is arithmetic and graphs, and that it says at once where there is no GPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spladert import SparseEncoder, SparseVector
from support.paths import ROOT

pytest.importorskip("torch", reason="needs the export extra: pip install 'spladert[export]'")
pytest.importorskip("onnx", reason="needs the export extra: pip install 'spladert[export]'")
pytest.importorskip("onnxruntime", reason="needs onnxruntime: pip install 'spladert[cpu]'")

import onnxruntime as ort
import torch

from benchmarks import gpu, gpu_head


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


def test_percentiles() -> None:
    assert gpu.percentiles(list(range(101))) == gpu.Latency(50.0, 90.0, 99.0)


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
    floors = gpu.Floors("a GPU", 1e12, 1e14)
    results: dict[str, Any] = {"ours": {}, "theirs": {"problem": "it does not start"}}
    engines = {"ours": lambda texts: [None] * len(texts)}
    costs = gpu.work(768, 50_000, 100_000_000, 2)
    gpu.measure(engines, results, ["query"], ["text"] * max(gpu.BATCHES), costs, floors, 64)
    ours = results["ours"]
    assert set(ours["texts_per_second"]) == set(gpu.BATCHES)
    best = max(ours["texts_per_second"].items(), key=lambda item: item[1])
    assert ours["share_of_floor"] == pytest.approx(costs.least_seconds(floors, 64 * best[0]) * best[1] / best[0])
    lines = gpu.table(results, 0.277).splitlines()
    assert lines[2].startswith("| ours | ")
    assert lines[3] == "| theirs | it does not start | | | | |"
    assert lines[-1].endswith("0.277 ms")


def test_texts_of_a_wanted_length(tiny_bundle: Path) -> None:
    encoder = SparseEncoder.load(tiny_bundle, device="cpu")
    tokenizer = encoder._tokenizer
    for tokens in (8, 64):
        texts = gpu.make_texts(tokenizer, tokens, 20, 64)
        assert len(texts) == 20
        assert {len(tokenizer.encode(text).ids) for text in texts} == {tokens}
    with pytest.raises(SystemExit, match="no text of 65 tokens"):
        gpu.make_texts(tokenizer, 65, 1, 64)


@pytest.mark.parametrize("tile", [16, 64, 100, 1000])
def test_the_head_in_tiles_is_the_head(tile: int) -> None:
    """On the CPU in fp32; the GPU runs the same nodes in fp16."""
    hidden, vocabulary, top_k = 24, 100, 10
    model = gpu_head.head_model(hidden, vocabulary, top_k, tile, half=False)
    states = np.random.default_rng(1).standard_normal((7, 3, hidden), dtype=np.float32)  # [S, B, H]
    values, indices = ort.InferenceSession(model).run(["values", "indices"], {"hidden": states})
    pooled = (states @ gpu_head.head_weight(hidden, vocabulary).T).max(axis=0)
    order = np.argsort(-pooled, axis=1)[:, :top_k]
    np.testing.assert_array_equal(indices, order)
    np.testing.assert_allclose(values, np.take_along_axis(pooled, order, axis=1), atol=1e-5)


def test_the_cost_of_tiles_is_relative_to_the_fused_kernel() -> None:
    found: dict[str, Any] = {
        "onnxruntime, tile 4096": {"ms": 3.0},
        "onnxruntime, whole": {"ms": 2.0},
        "torch eager": {"ms": 0.5},
        "fused": {"ms": 1.0},
    }
    assert gpu_head.cost_of_tiles(found) == {"best_tile_over_fused": 2.0, "exported_tile_over_fused": 3.0}
    assert gpu_head.cost_of_tiles(found | {"fused": {"problem": "no triton"}}) == {}


FUSED = """
import torch
from benchmarks import gpu_head
for tokens, batch, width, vocabulary in ((16, 3, 96, 300), (64, 2, 70, 129)):
    states = torch.randn(tokens, batch, width).half()
    weight = torch.from_numpy(gpu_head.head_weight(width, vocabulary)).half()
    pooled = torch.empty(batch, vocabulary)
    gpu_head.run_fused(gpu_head.fused_kernel(), states, weight, pooled)
    torch.testing.assert_close(pooled, (states.float() @ weight.float().T).amax(dim=0), atol=1e-4, rtol=0)
print("right")
"""


def test_the_fused_kernel_computes_the_pooled_logits() -> None:
    """In Triton's interpreter, which needs no GPU."""
    pytest.importorskip("triton", reason="Triton is not installed; PyTorch's CUDA builds bring it")
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    command = [sys.executable, "-c", FUSED]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, cwd=ROOT)
    assert done.stdout.strip() == "right", done.stderr
