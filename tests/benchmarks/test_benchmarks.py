"""The comparison suite: its own arithmetic, and one small run of it from end to end."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.suite.agreement import agreement, heaviest
from benchmarks.suite.engines import PEERS, engine, engine_names
from benchmarks.suite.floors import bandwidth_gb_s, best_seconds, floor_ms
from benchmarks.suite.machine import peak_memory_mb, versions
from benchmarks.suite.plots import draw
from benchmarks.suite.processes import Launcher
from benchmarks.suite.results import percentile, summarize, summarize_samples
from benchmarks.suite.tables import report
from benchmarks.suite.worker import sample
from benchmarks.suite.workload import LENGTHS, SHAPES, Workload, make_workload, mix_batches, texts_by_length
from support.paths import ROOT

CHECKPOINT = ROOT / "training" / "korean-splade-small"
BUNDLE = ROOT / "runtime" / "spladert" / "default_model"
FLOORS = {"threads": 2, "memory_gb_s": 10.0, "fp32_gflop_s": 100.0, "bf16_gflop_s": None, "int8_gop_s": 400.0}


@pytest.fixture(scope="module")
def sentences(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lines of 1 to 70 Korean terms in random order: enough of every length."""
    terms = (ROOT / "benchmarks" / "terms_ko.jsonl").read_text(encoding="utf-8").splitlines()
    words = [json.loads(line)["term"] for line in terms]
    rng = random.Random(0)
    path = tmp_path_factory.mktemp("texts") / "sentences.txt"
    lines = [" ".join(rng.choices(words, k=rng.randint(1, 70))) for _ in range(6000)]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def workload(sentences: Path) -> Workload:
    return make_workload(BUNDLE, sentences, mix_texts=70, calibration_texts=10)


def content_of(raw: dict[str, dict[str, list[Any]]]) -> dict[str, Any]:
    """Results as compare.py keeps them, for a model of 1,000,000 parameters."""
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
    }  # fmt: skip
    content["engines"] = {name: summarize(name, one["shapes"], one["mix"], content) for name, one in raw.items()}
    return content


def raw_of(milliseconds: float) -> dict[str, list[Any]]:
    samples = {str(shape): [milliseconds * shape.batch] * 3 for shape in SHAPES}
    one = {"samples_ms": samples, "cold_start_s": 1.5, "peak_mb": 300.0}
    return {"shapes": [one, one], "mix": [{"mix_s": milliseconds / 10, "peak_mb": 400.0}]}


def test_percentiles_are_samples_by_nearest_rank() -> None:
    assert percentile(range(1, 101), 0.99) == 99
    assert percentile(range(1, 101), 1.0) == 100
    assert percentile([3.0], 0.99) == 3.0


def test_a_round_with_more_samples_has_no_more_say() -> None:
    figures = summarize_samples([[10.0] * 90, [20.0], [20.0]], texts=4)
    assert figures["p50_ms"] == 20.0
    assert figures["texts_per_s"] == 200.0
    assert figures["samples"] == 92
    assert figures["p99_ms"] is None  # too few samples for it
    assert figures["max_ms"] == 20.0


def test_p99_is_given_with_enough_samples() -> None:
    assert summarize_samples([[1.0] * 99, [7.0] * 2], texts=1)["p99_ms"] == 7.0


def test_a_floor_is_the_larger_of_reading_and_computing() -> None:
    assert floor_ms(FLOORS, "int8", 100_000_000, 1, 8) == pytest.approx(10.0)  # 100 MB at 10 GB/s; computing is 4 ms
    assert floor_ms(FLOORS, "int8", 100_000_000, 32, 64) == pytest.approx(1024.0)  # 409.6 GOP at 400
    assert floor_ms(FLOORS, "fp32", 100_000_000, 1, 8) == pytest.approx(40.0)
    assert floor_ms(FLOORS, "bf16", 100_000_000, 1, 8) is None  # not measured on this CPU


def test_best_seconds_discards_the_first_call() -> None:
    calls: list[int] = []
    assert best_seconds(lambda: calls.append(1), repetitions=3) >= 0
    assert len(calls) == 4


def test_bandwidth_is_positive() -> None:
    assert bandwidth_gb_s(2, read_bytes=1 << 20) > 0


def test_sampling_discards_a_warm_up_and_takes_at_least_one() -> None:
    calls: list[int] = []
    assert len(sample(lambda: calls.append(1), 0.0)) == 1
    assert len(calls) == 2


def test_workload_has_exact_lengths_and_keeps_calibration_apart(workload: Workload, sentences: Path) -> None:
    from spladert import SparseEncoder

    encoder = SparseEncoder.load(BUNDLE, device="cpu")
    for length in LENGTHS:
        texts = workload.by_length[length]
        assert len(texts) == 32
        # [CLS] and [SEP] besides; a text beyond the maximum length counts as that long
        counts = [min(len(encoder.tokenize(text)) + 2, encoder.manifest.max_length) for text in texts]
        assert counts == [length] * 32
    assert not set(workload.calibration) & {
        *workload.mix,
        *(text for texts in workload.by_length.values() for text in texts),
    }
    assert Workload.from_dict(json.loads(json.dumps(workload.to_dict()))) == workload
    assert make_workload(BUNDLE, sentences, mix_texts=70, calibration_texts=10) == workload


def test_workload_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="only 1 texts have 8 tokens; 32 are needed"):
        texts_by_length(["하나"], [8])
    with pytest.raises(SystemExit, match="missing: set SPLADERT_SHARED"):
        make_workload(BUNDLE, tmp_path / "none.txt", mix_texts=1)


def test_the_mix_is_batched_as_each_engine_is_given_it() -> None:
    texts = ["가" * (i * 7 % 40) for i in range(70)]
    assert mix_batches(texts, "own") == [texts]
    in_order = mix_batches(texts, "in order")
    assert [len(batch) for batch in in_order] == [32, 32, 6]
    assert [text for batch in in_order for text in batch] == texts
    lengths = [len(text) for batch in mix_batches(texts, "sorted") for text in batch]
    assert lengths == sorted((len(text) for text in texts), reverse=True)


def test_the_report_has_every_engine_and_every_reason() -> None:
    text = report(content_of({"pytorch": raw_of(100), "spladert cpu-int8": raw_of(10)}))
    assert "| pytorch | 100 (1.0x) |" in text
    assert "| spladert cpu-int8 | 10 (10.0x) |" in text
    assert "<= 100 (6)" in text  # no p99 out of six samples
    assert "| pytorch | 5.0 | 400 | 300 | 1.50 |" in text
    assert "- openvino bf16: not on this CPU" in text
    assert "bf16 not on this CPU" in text
    assert "torch 2." in text


def test_the_report_of_a_partial_run() -> None:
    content = content_of({"pytorch": {"shapes": [], "mix": [{"mix_s": 10.0, "peak_mb": 400.0}]}})
    text = report({**content, "floors": None})
    assert "| pytorch | 5.0 | 400 |  |  |" in text
    assert "Median latency" not in text


def test_heaviest_entries_of_all_that_engines_give() -> None:
    torch = pytest.importorskip("torch", reason="needs the export extra: pip install 'spladert[export]'")
    from spladert import SparseVector, SparseVectors

    dense = torch.zeros(1, 30)
    dense[0, 7], dense[0, 3] = 1.0, 2.0
    vectors = SparseVectors.from_rows([SparseVector(np.array([3, 7], np.int32), np.array([2, 1], np.float32))], 30)
    unsorted = (np.array([[7, 3]], np.int32), np.array([[1, 2]], np.float32))
    for output in (vectors, dense, dense.to_sparse(), dense.topk(2), unsorted, unsorted[::-1]):
        assert heaviest(output)[0][:2] == [(3, 2.0), (7, 1.0)]


def test_agreement_counts_ids_and_weights() -> None:
    reference = [[(3, 2.0), (7, 1.0)], [(4, 2.0), (5, 1.0)]]
    assert agreement(reference, reference) == {"texts": 2, "overlap": 1.0, "weight_error": 0.0}
    found = [[(3, 1.5), (8, 1.0)], [(4, 2.0), (5, 1.25)]]
    assert agreement(reference, found) == {"texts": 2, "overlap": 0.75, "weight_error": 0.5}


def test_plots_are_small_and_reproducible(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs the bench extra: pip install 'spladert[bench]'")
    content = content_of({"pytorch": raw_of(100), "spladert cpu-int8": raw_of(10)})
    first = {path.name: path.read_bytes() for path in draw(content, tmp_path / "a")}
    assert set(first) == {"latency.svg", "throughput.svg", "floor.svg"}
    assert all(len(data) < 200_000 for data in first.values())
    assert {path.name: path.read_bytes() for path in draw(content, tmp_path / "b")} == first
    assert all(b"<svg" in data for data in first.values())


def test_machine_facts() -> None:
    assert 1 < peak_memory_mb() < 1e6
    assert set(versions(["numpy", "no-such-package"])) == {"numpy"}


def test_engine_names_follow_the_bundle() -> None:
    names = engine_names(BUNDLE)
    assert names[: len(PEERS)] == list(PEERS)
    assert "spladert cpu-int8" in names
    assert engine("spladert cpu-int8").precision == "int8"


def launcher(tmp_path: Path, workload: Workload) -> Launcher:
    path = tmp_path / "workload.json"
    path.write_text(json.dumps(workload.to_dict(), ensure_ascii=False), encoding="utf-8")
    common = {
        "checkpoint": str(CHECKPOINT), "bundle": str(BUNDLE), "work": str(tmp_path), "workload": str(path),
        "threads": 1, "max_length": 64, "top_k": 256,
    }  # fmt: skip
    return Launcher(common)


@pytest.mark.parametrize(
    ("name", "module"),
    [(name, "openvino") for name in PEERS if "openvino" in name]
    + [(name, "sentence_transformers") for name in PEERS if "sentence" in name]
    + [("optimum fp32", "optimum.onnxruntime")],
)
def test_a_peer_that_is_not_installed_says_so(name: str, module: str, tmp_path: Path, workload: Workload) -> None:
    import importlib.util

    if importlib.util.find_spec(module.split(".")[0]) is not None:
        pytest.skip(f"{module} is installed here")
    result = launcher(tmp_path, workload).run("check", name)
    assert result["not_run"].startswith("cannot be imported: No module named")


def test_memory_of_a_call(tmp_path: Path, workload: Workload) -> None:
    result = launcher(tmp_path, workload).run("memory", "spladert cpu-int8", texts=33)
    assert result["peak_mb"] > 20


def test_a_failing_engine_is_named(tmp_path: Path, workload: Workload) -> None:
    result = launcher(tmp_path, workload).run("check", "spladert cpu-none")
    assert "the bundle has no precision 'none'" in result["failed"]


def test_compare_from_end_to_end(tmp_path: Path, sentences: Path) -> None:
    pytest.importorskip("torch", reason="needs the export extra: pip install 'spladert[export]'")
    results = tmp_path / "results.json"
    command = [
        sys.executable, "-m", "benchmarks.compare", str(CHECKPOINT), str(BUNDLE),
        "--engines", "pytorch,spladert cpu-int8,openvino bf16", "--measures", "agreement,shapes,mix",
        "--shapes", "1 x 8,8 x 8", "--seconds", "0.02", "--rounds", "1", "--mix-texts", "40", "--threads", "1",
        "--texts", str(sentences), "--work", str(tmp_path / "work"), "--json", str(results),
    ]  # fmt: skip
    for rounds in (1, 2):  # the second call goes on with the first one's file
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
        assert done.returncode == 0, done.stderr
        content = json.loads(results.read_text(encoding="utf-8"))
        assert content["rounds"] == rounds
        assert len(content["raw"]["pytorch"]["shapes"]) == rounds
    assert list(content["engines"]) == ["pytorch", "spladert cpu-int8"]
    assert "openvino bf16" in content["not_run"]
    assert content["agreement"]["pytorch"] == {"texts": 64, "overlap": 1.0, "weight_error": 0.0}
    assert content["agreement"]["spladert cpu-int8"]["overlap"] > 0.9
    for name, figures in content["engines"].items():
        assert set(figures["shapes"]) == {"1 x 8", "8 x 8"}
        assert figures["mix_texts_per_s"] > 0
        assert figures["cold_start_s"] > 0
        assert f"| {name} |" in done.stdout
    assert str(ROOT) not in json.dumps(content)
    done = subprocess.run([*command, "--mix-texts", "39"], capture_output=True, text=True, check=False, cwd=ROOT)
    assert "was made with another settings (mix_texts)" in done.stderr
