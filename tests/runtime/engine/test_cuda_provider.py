"""What ONNX Runtime's own CUDA provider does with the graphs, on a machine without a GPU.

Its CUDA libraries are stood in for (cuda_stand_in.c): no kernel runs, so nothing is said of results and of speed. But
where each node is placed, what is copied, and whether CUDA graphs are captured and replayed is as on a GPU.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from spladert.engine.libraries import CUDNN
from support import cuda_stand_in
from support.checkpoints import make_checkpoint
from support.gpu_python import gpu_python, gpu_site_packages

pytest.importorskip("torch", reason="needs the export extra: pip install 'spladert[export]'")

from support.paths import ROOT

TOP_K = 64
TEXTS = (["당뇨병"] * 3, ["당뇨병"] * 3, ["법원"] * 2, ["당뇨병 치료 방법 " * 30] * 2, ["당뇨병"] * 70)
PROBE = """
import ctypes, json, sys
from collections import Counter
from spladert import SparseEncoder
here = ctypes.CDLL(None)

def counts():
    found = {name: getattr(here, "stand_in_" + name)() for name in ("launches", "captures", "replays", "allocations")}
    return found | {name: here.stand_in_copied(kind) for name, kind in (("in", 1), ("out", 2))}

import onnxruntime
class Recording(onnxruntime.SessionOptions):
    def __init__(self):
        super().__init__()
        self.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
onnxruntime.SessionOptions = Recording

encoder = SparseEncoder.load(sys.argv[1], device="cuda", variant=sys.argv[2])
runs = []
for texts in json.loads(sys.argv[3]):
    before = counts()
    encoder.encode(texts, batch_size=len(texts))
    runs.append({name: value - before[name] for name, value in counts().items()})
session = encoder.engine.session
placed = {part.ep_name: Counter() for part in session.get_provider_graph_assignment_info()}
for part in session.get_provider_graph_assignment_info():
    placed[part.ep_name].update(node.op_type for node in part.get_nodes())
[worker] = encoder.engine.workers
print(json.dumps({"runs": runs, "placed": placed, "captures": worker.captures, "buckets": worker.buckets}))
"""


@pytest.fixture(scope="module")
def bundles(tiny_checkpoint: Path, calibration: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """By architecture."""
    from spladert_export import export

    folder = tmp_path_factory.mktemp("placement")

    def make(architecture: str, checkpoint: Path, *precisions: str) -> Path:
        out = folder / architecture
        return export(
            checkpoint, out, precisions=precisions, calibration=calibration, top_k=TOP_K, allow_loss=True
        ).path

    bert = make_checkpoint("bert", folder / "checkpoint")
    return {
        "modernbert": make("modernbert", tiny_checkpoint, "fp32", "fp16", "bf16"),
        "bert": make("bert", bert, "fp16"),
    }


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment to run onnxruntime-gpu with."""
    provider = gpu_site_packages() / "onnxruntime" / "capi" / "libonnxruntime_providers_cuda.so"
    if reason := cuda_stand_in.why_not(provider):
        pytest.skip(reason)
    return cuda_stand_in.build(provider, tmp_path_factory.mktemp("stand-in"))


def run_with(stand_in: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | stand_in | {"PYTHONPATH": str(ROOT / "runtime")}
    return subprocess.run(
        [gpu_python(), "-c", *arguments], capture_output=True, text=True, env=environment, timeout=300, check=False
    )


@pytest.fixture(
    scope="module", params=[("modernbert", "fp32"), ("modernbert", "fp16"), ("modernbert", "bf16"), ("bert", "fp16")]
)
def found(request: pytest.FixtureRequest, bundles: dict[str, Path], stand_in: dict[str, str]) -> Any:
    architecture, precision = request.param
    done = run_with(stand_in, PROBE, str(bundles[architecture]), precision, json.dumps(TEXTS))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_node_that_computes_is_on_the_gpu(found: Any) -> None:
    assert set(found["placed"]) == {"CPUExecutionProvider", "CUDAExecutionProvider"}
    on_host, on_device = found["placed"]["CPUExecutionProvider"], found["placed"]["CUDAExecutionProvider"]
    assert set(on_host) == {"Concat"}  # of shapes, which the host has to know
    assert sum(on_host.values()) <= 3
    assert on_device["MatMul"] > 10
    assert on_device["TopK"] == 1


def test_a_bucket_is_captured_once_and_replayed(found: Any) -> None:
    first, again, same_bucket, long, _ = found["runs"]
    assert found["captures"]
    for run in (first, long):
        assert (run["captures"], run["replays"]) == (1, 1)
        assert run["launches"] > 50
    assert found["buckets"] == [[4, 8], [2, 8], [2, 64]]
    assert (again["launches"], again["captures"], again["replays"], again["allocations"]) == (0, 0, 1, 0)
    assert same_bucket["captures"] == 1


def test_only_ids_and_mask_go_in_and_only_k_ids_and_weights_come_back(found: Any) -> None:
    rows_and_tokens = [(4, 8), (4, 8), (2, 8), (2, 64), (70, 3)]  # the last is beyond the buckets, and not padded
    for run, (rows, tokens) in zip(found["runs"], rows_and_tokens, strict=True):
        assert run["out"] == rows * TOP_K * (4 + 4)  # int32 and float32
        if rows <= 32:
            assert run["in"] == rows * tokens * (8 + 8)  # int64 each
    assert found["runs"][-1]["captures"] == found["runs"][-1]["replays"] == 0


def test_without_cudnn_it_does_not_start(bundles: dict[str, Path], stand_in: dict[str, str], tmp_path: Path) -> None:
    """The provider would start, and fail in its first run."""
    if list(gpu_site_packages().glob(f"nvidia/*/lib/{CUDNN}")):
        pytest.skip("cuDNN is installed here")
    folder = tmp_path / "libraries"
    folder.mkdir()
    for path in Path(stand_in["LD_LIBRARY_PATH"]).glob("lib*"):
        if path.name != CUDNN:
            (folder / path.name).symlink_to(path)
    done = run_with(stand_in | {"LD_LIBRARY_PATH": str(folder)}, PROBE, str(bundles["bert"]), "fp16", "[]")
    assert done.returncode == 1
    message = f"DeviceError: device 'cuda' needs {CUDNN}, not found here: pip install "
    assert message in done.stderr
