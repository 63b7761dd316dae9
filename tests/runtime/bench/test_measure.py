from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from spladert import BundleError, DeviceError, InputError, SpladertError, __version__
from spladert.bench.measure import Settings, Tasks, make_workload, measure
from spladert.bench.report import Report
from spladert.bundle import open_bundle
from spladert.engine import PlacementRequest, RuntimeOptions

QUICK = Settings(lengths=(8, 64), batch_sizes=(1, 4), callers=(1, 2), seconds=0.1, starts=1)
REQUEST = PlacementRequest(device="cpu")
ONE_THREAD = RuntimeOptions(threads=1, isa="onnx")


@pytest.fixture(scope="module")
def measured() -> tuple[Report, list[str], float]:
    """A report of the default model, what was said meanwhile, and the seconds that it took."""
    said: list[str] = []
    begun = time.monotonic()
    report = measure(open_bundle(), REQUEST, ONE_THREAD, QUICK, say=said.append)
    return report, said, time.monotonic() - begun


def test_a_report_names_what_was_measured_and_on_what(measured: tuple[Report, list[str], float]) -> None:
    report, said, _ = measured
    manifest = open_bundle().manifest
    assert (report.source, report.max_length) == (manifest.source.id, manifest.max_length)
    assert (report.variant, report.device) == ("cpu-int8", "cpu")
    assert (report.runs_on, report.threads, report.spin) == ("ONNX Runtime", 1, True)
    assert report.versions["spladert"] == __version__
    assert {"onnxruntime", "numpy", "tokenizers"} <= report.versions.keys()
    assert report.mix == "made up, of 8, 64 tokens in turn"
    assert [line for line in said if not line.startswith("warning")] == [
        "start, 1 times",
        "latency of texts of 8, 64 tokens",
        "throughput of 1, 4 texts a call",
        "memory of 1, 4 texts a call",
    ]
    assert [line.removeprefix("warning: ") for line in said if line.startswith("warning")] == list(report.warnings)


def test_latency_is_of_each_length(measured: tuple[Report, list[str], float]) -> None:
    report, _, seconds = measured
    assert [one.tokens for one in report.latency] == [8, 64]
    for one in report.latency:
        assert one.calls >= 5  # one a turn
        assert (one.p99_ms is None) == (one.calls < 100)
        assert 0 < one.p50_ms <= one.p90_ms <= (one.p99_ms or one.max_ms) <= one.max_ms < seconds * 1e3


def test_throughput_counts_texts_and_tokens(measured: tuple[Report, list[str], float]) -> None:
    report, _, _ = measured
    assert [(one.batch_size, one.callers) for one in report.throughput] == [(1, 1), (1, 2), (4, 1), (4, 2)]
    for one in report.throughput:
        assert one.calls >= one.callers
        # Texts of 8 and 64 tokens in turn: 36 in the mean, and one text's difference at most.
        assert one.tokens_per_s / one.texts_per_s == pytest.approx(36, abs=28 / (one.calls * one.batch_size) + 1e-6)


def test_memory_grows_with_the_texts_from_what_is_loaded(measured: tuple[Report, list[str], float]) -> None:
    report, _, _ = measured
    assert [one.batch_size for one in report.memory] == [0, 1, 4]
    loaded, single, four = (one.peak_mb for one in report.memory)
    weights = sum(file.bytes for file in open_bundle().manifest.variants[0].files) / 1e6
    assert weights < loaded < single < four < loaded + 200


def test_a_start_is_import_then_load_then_a_vector(measured: tuple[Report, list[str], float]) -> None:
    report, _, seconds = measured
    assert 0 < report.start.import_s < report.start.load_s < report.start.first_vector_s < seconds


def test_what_cannot_be_measured_is_refused_before_it_is(tmp_path: Path) -> None:
    bundle = open_bundle()
    with pytest.raises(BundleError, match="no variant 'cpu-fp8' for cpu"):
        measure(bundle, PlacementRequest("cpu", "cpu-fp8"), ONE_THREAD, QUICK)
    with pytest.raises(DeviceError, match="NoSuchProvider is not in this onnxruntime"):
        measure(bundle, PlacementRequest(providers=("NoSuchProvider",)), ONE_THREAD, QUICK)
    with pytest.raises(InputError, match="65 tokens is beyond this bundle's max_length, 64"):
        measure(bundle, REQUEST, ONE_THREAD, replace(QUICK, lengths=(8, 65)))
    with pytest.raises(InputError, match="there are no texts"):
        measure(bundle, REQUEST, ONE_THREAD, QUICK, [])


def test_lengths_double_up_to_the_bundles() -> None:
    workload = make_workload(open_bundle(), (), None)
    assert list(workload.by_length) == [8, 16, 32, 64]
    assert workload.mix[:4] == [texts[0] for texts in workload.by_length.values()]
    assert workload.longest == workload.by_length[64]


def test_own_texts_are_the_throughputs() -> None:
    workload = make_workload(open_bundle(), (8,), ["계약서", "손해배상"])
    assert (workload.mix, workload.name) == (["계약서", "손해배상"], "2 texts of the caller's")


def test_what_a_worker_runs_into_is_the_callers_error() -> None:
    """Only a worker finds out what is wrong with a file of the graph, and what does not start."""
    tasks = Tasks(open_bundle(), PlacementRequest("cpu", "cpu-fp8"), ONE_THREAD)
    with pytest.raises(BundleError, match="no variant 'cpu-fp8' for cpu"):
        tasks.run("memory", texts=[])
    with pytest.raises(SpladertError, match="the process that measured latency failed: KeyError: 'by_length'"):
        Tasks(open_bundle(), REQUEST, ONE_THREAD).run("latency")
