"""The head's graph in tiles and its fused kernel compute what the head does."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from support.paths import ROOT

pytest.importorskip("torch", reason="needs the export extra: pip install 'spladert[export]'")
pytest.importorskip("onnx", reason="needs the export extra: pip install 'spladert[export]'")
pytest.importorskip("onnxruntime", reason="needs onnxruntime: pip install 'spladert[cpu]'")

import onnxruntime as ort

from benchmarks import gpu_head


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
