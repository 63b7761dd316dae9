"""Tasks of one engine, in processes of their own as the comparison runs them."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks.suite import worker
from benchmarks.suite.engine import Encode, Engine, Inputs
from benchmarks.suite.engines import PEERS
from benchmarks.suite.processes import Launcher
from benchmarks.suite.workload import Workload
from spladert.bundle.open import DEFAULT_BUNDLE
from support.paths import ROOT


@pytest.fixture
def launcher(tmp_path: Path, workload: Workload) -> Launcher:
    path = tmp_path / "workload.json"
    path.write_text(json.dumps(workload.to_dict(), ensure_ascii=False), encoding="utf-8")
    common = {
        "checkpoint": str(ROOT / "training" / "korean-splade-small"), "bundle": str(DEFAULT_BUNDLE),
        "work": str(tmp_path), "workload": str(path), "threads": 1, "max_length": 64, "top_k": 256,
    }  # fmt: skip
    return Launcher(common)


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("openvino nncf-int8", "openvino"),
        ("sentence-transformers", "sentence_transformers"),
        ("optimum fp32", "optimum"),
    ],
)
def test_a_peer_that_is_not_installed_says_so(name: str, module: str, launcher: Launcher) -> None:
    assert name in PEERS
    if importlib.util.find_spec(module) is not None:
        pytest.skip(f"{module} is installed here")
    assert launcher.run("check", name)["not_run"].startswith("cannot be imported: No module named")


def test_a_failing_engine_is_named(launcher: Launcher) -> None:
    assert "the bundle has no variant 'cpu-none'" in launcher.run("check", "spladert cpu-none")["failed"]


def test_a_long_text_has_a_time_and_a_peak(launcher: Launcher, workload: Workload) -> None:
    result = launcher.run("long_text", "spladert cpu-int8 onnx", length=max(workload.by_length))
    assert result["cpu_s"] > 0
    assert result["peak_mb"] > 20


def test_the_start_of_an_engine_brings_nothing_that_is_not_its_own() -> None:
    """A peer's cold start would pay for it."""
    import subprocess
    import sys

    code = "import sys, benchmarks.suite.worker; print({'numpy', 'spladert', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "set()"


def seen_by_engine(task: str, workload: Workload, **spec: object) -> list[list[str]]:
    """The texts of each call that a task makes."""
    calls: list[list[str]] = []

    def load(inputs: Inputs) -> Encode:
        def encode(texts: Sequence[str]) -> object:
            calls.append(list(texts))
            return None

        return encode

    paths = {"checkpoint": "c", "bundle": "b", "work": "w", "threads": 1, "max_length": 64, "top_k": 8, "started": 0.0}
    worker.TASKS[task](Engine(load, "fp32", "sorted", ()), {**paths, **spec}, workload)
    return calls


def test_memory_is_of_one_call_with_so_many_of_the_longest_texts(workload: Workload) -> None:
    _, call = seen_by_engine("memory", workload, texts=70)
    assert call == (workload.by_length[64] * 3)[:70]


def test_shapes_are_called_with_their_own_texts(workload: Workload) -> None:
    start, *calls = seen_by_engine("shapes", workload, shapes=["8 x 16"], seconds=0.0)
    assert len(start) == 1
    assert calls == [workload.by_length[16][:8]] * 2  # the warm-up and one sample


def test_the_mix_is_one_pass_after_a_warm_up(workload: Workload) -> None:
    start, warm_up, *calls = seen_by_engine("mix", workload)
    assert (len(start), len(warm_up)) == (1, 32)
    assert sorted(text for call in calls for text in call) == sorted(workload.mix)


def test_single_calls_and_callers(launcher: Launcher, workload: Workload) -> None:
    assert len(launcher.run("single", "spladert cpu-int8 onnx", count=7)["samples_ms"]) == 7
    length = max(workload.by_length)
    rate = launcher.run("callers", "spladert cpu-int8 onnx", callers=2, batches=3, length=length)["texts_s"]
    assert rate > 0
