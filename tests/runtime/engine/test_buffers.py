"""Bound runs by shape buckets, on buffers in CPU memory: the code that runs on a GPU, but for where the memory is."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spladert import DeviceError, InputError, SparseEncoder
from spladert.batching import Limits
from spladert.bundle import open_bundle
from spladert.engine import Placement, RuntimeOptions
from spladert.engine.buffers import BATCHES, LENGTHS, BoundEngine, Layout, Worker
from spladert.engine.padding import pad
from spladert.engine.session import onnxruntime_module, start_session
from support.checkpoints import LINES

ort = pytest.importorskip("onnxruntime")

Batch = tuple[Any, Any]
LIMITS = Limits(tokens=16_384, batch_cost=1024)


@pytest.fixture(scope="module")
def start(tiny_bundle: Path) -> Callable[[bool], Any]:
    def make(capture: bool = False) -> Any:
        return start_session(tiny_bundle / "cpu-fp32.onnx", options=RuntimeOptions(threads=1))

    return make


@pytest.fixture(scope="module")
def layout(tiny_bundle: Path) -> Layout:
    manifest = open_bundle(tiny_bundle).manifest
    return Layout("cpu", manifest.top_k, manifest.pad_token_id, manifest.max_length)


@pytest.fixture(scope="module")
def worker(start: Callable[[bool], Any], layout: Layout) -> Worker:
    return Worker(onnxruntime_module(), start, layout, capture=True)


def make_batch(lengths: list[int], seed: int) -> Batch:
    random = np.random.default_rng(seed)
    shape = (len(lengths), max(lengths))
    mask = (np.arange(shape[1])[None] < np.array(lengths)[:, None]).astype(np.int64)
    return random.integers(5, 100, shape) * mask, mask


def same(got: Any, expected: Any) -> None:
    """The same weights within 1e-5, by id: entries of equal weight may come in another order."""
    dense = []
    for indices, values in (got, expected):
        assert (indices.dtype, values.dtype) == (np.int32, np.float32)
        row = np.zeros((len(indices), 500), np.float32)
        np.put_along_axis(row, indices.astype(np.int64), values, axis=1)
        dense.append(row)
    np.testing.assert_allclose(*dense, atol=1e-5)


@given(st.lists(st.integers(1, 64), min_size=1, max_size=40), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_padding_up_to_a_bucket_changes_nothing(
    worker: Worker, start: Callable[[bool], Any], lengths: list[int], seed: int
) -> None:
    ids, mask = make_batch(lengths, seed)
    session = worker.session
    expected = session.run(["indices", "values"], {"input_ids": ids, "attention_mask": mask})
    got = worker.run(ids, mask)
    assert got[0].shape == (len(lengths), expected[0].shape[1])
    same(got, expected)


@given(st.integers(1, 80), st.integers(1, 140), st.integers(1, 200))
def test_the_bucket_is_the_smallest_that_holds_a_run(batch: int, length: int, max_length: int) -> None:
    shape = Layout("cpu", 5, 0, max_length).bucket(batch, min(length, max_length))
    lengths = {min(size, max_length) for size in LENGTHS}
    fitting = [(b, n) for b in BATCHES for n in lengths if b >= batch and n >= min(length, max_length)]
    assert shape == min(fitting, default=None)
    assert shape is None or shape[1] <= max_length  # the graph has no position beyond


def test_rows_that_only_fill_up_have_a_token_and_columns_have_none() -> None:
    ids, mask = Layout("cpu", 5, 9, 64).fit(np.array([[2, 3, 4]]), np.array([[1, 1, 1]]), (2, 8))
    assert ids.tolist() == [[2, 3, 4, 9, 9, 9, 9, 9], [9] * 8]
    assert mask.tolist() == [[1, 1, 1, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0, 0, 0]]


def test_buffers_are_made_once_a_bucket_and_results_are_not_overwritten(
    start: Callable[[bool], Any], layout: Layout
) -> None:
    worker = Worker(onnxruntime_module(), start, layout, capture=True)
    first = worker.run(*make_batch([5, 7], 0))
    kept = [array.copy() for array in first]
    assert worker.buckets == [(2, 8)]
    worker.run(*make_batch([8, 2], 1))
    assert worker.buckets == [(2, 8)]
    assert all((a == b).all() for a, b in zip(first, kept, strict=True))
    worker.run(*make_batch([9], 1))
    worker.run(*make_batch([5] * 33, 1))  # beyond the buckets: nothing is kept
    assert worker.buckets == [(2, 8), (1, 16)]


class Refuses:
    """Makes sessions as a provider does that has no CUDA graphs: it says so at the start, or in the first run."""

    def __init__(self, start: Callable[[bool], Any], *, at_start: bool) -> None:
        self._start, self._at_start = start, at_start
        self.asked: list[bool] = []

    def __call__(self, capture: bool) -> Any:
        self.asked.append(capture)
        if capture and self._at_start:
            raise DeviceError("not all nodes are on the device\nand more")
        session = self._start(capture)
        if capture:
            session.run_with_iobinding = self._fail
        return session

    @staticmethod
    def _fail(binding: Any, options: Any) -> None:
        raise RuntimeError("capture failed\nand more")


@pytest.mark.parametrize("at_start", [True, False])
def test_where_graphs_are_refused_one_warning_says_so_and_it_goes_on(
    start: Callable[[bool], Any], layout: Layout, at_start: bool, caplog: pytest.LogCaptureFixture
) -> None:
    refuses = Refuses(start, at_start=at_start)
    worker = Worker(onnxruntime_module(), refuses, layout, capture=True)
    for seed in range(3):
        ids, mask = make_batch([5, 7], seed)
        expected = start(False).run(["indices", "values"], {"input_ids": ids, "attention_mask": mask})
        same(worker.run(ids, mask), expected)
    assert refuses.asked == [True, False]
    assert not worker.captures
    reason = "not all nodes are on the device" if at_start else "capture failed"
    assert [r.getMessage() for r in caplog.records] == [f"CUDA graphs are off, short texts take longer: {reason}"]


def test_what_fails_without_graphs_too_is_an_error(start: Callable[[bool], Any], layout: Layout) -> None:
    worker = Worker(onnxruntime_module(), start, layout, capture=False)
    beyond = np.full((1, 4), 10**9)  # ids that the embedding does not have
    with pytest.raises(DeviceError, match=r"a batch of 1 x 4 .* failed on the device"):
        worker.run(beyond, np.ones_like(beyond))
    with pytest.raises(DeviceError, match="never starts"):
        Worker(onnxruntime_module(), never_starts, layout, capture=True)


def never_starts(capture: bool) -> Any:
    raise DeviceError("it never starts")


def random_rows(count: int) -> list[list[list[int]]]:
    """Batches of two texts' token ids."""
    random = np.random.default_rng(0)
    return [[random.integers(5, 100, size).tolist() for size in (1 + i % 60, 3)] for i in range(count)]


def run_directly(engine: BoundEngine, rows: list[list[int]], layout: Layout) -> Any:
    ids, mask = pad(rows, layout.pad_token_id)
    return engine.session.run(["indices", "values"], {"input_ids": ids, "attention_mask": mask})


def test_concurrent_callers_get_their_own_results_on_few_workers(start: Callable[[bool], Any], layout: Layout) -> None:
    engine = BoundEngine(lambda: Worker(onnxruntime_module(), start, layout, capture=True), LIMITS, most=2)
    assert len(engine.workers) == 1
    work = random_rows(48)
    expected = [run_directly(engine, rows, layout) for rows in work]
    with ThreadPoolExecutor(8) as pool:
        for got, want in zip(pool.map(engine.run, work), expected, strict=True):
            same(got, want)
    assert 1 <= len(engine.workers) <= 2
    engine.close()
    with pytest.raises(InputError, match="closed"):
        engine.run(work[0])


def test_a_worker_that_has_no_room_leaves_one(
    start: Callable[[bool], Any], layout: Layout, caplog: pytest.LogCaptureFixture
) -> None:
    made: list[Worker] = []

    def open_worker() -> Worker:
        if made:
            raise DeviceError("out of memory")
        made.append(Worker(onnxruntime_module(), start, layout, capture=False))
        return made[0]

    engine = BoundEngine(open_worker, LIMITS, most=2)
    work = random_rows(24)
    with caplog.at_level(logging.WARNING, logger="spladert"), ThreadPoolExecutor(8) as pool:
        results = list(pool.map(engine.run, work))
    for got, rows in zip(results, work, strict=True):
        same(got, run_directly(engine, rows, layout))
    assert caplog.text.count("out of memory") <= 1
    assert engine.workers == made


def test_an_encoder_on_workers_gives_the_same_vectors(
    tiny_bundle: Path, start: Callable[[bool], Any], layout: Layout
) -> None:
    plain = SparseEncoder.load(tiny_bundle, device="cpu", threads=1)
    worker = Worker(onnxruntime_module(), start, layout, capture=True)
    engine = BoundEngine(lambda: worker, LIMITS.with_texts(16), most=1)
    bound = SparseEncoder(
        open_bundle(tiny_bundle), Placement("cuda", ("CUDAExecutionProvider",), plain.variant), engine
    )
    texts = [*LINES, "", "당뇨병", LINES[1] * 30] * 5
    assert max(map(len, plain.tokenize_batch(texts).input_ids)) == layout.max_length
    for got, want in zip(bound.encode(texts, batch_size=50), plain.encode(texts), strict=True):
        assert got.to_dict() == pytest.approx(want.to_dict(), abs=1e-5)
    assert max(batch for batch, _ in worker.buckets) == 16  # no batch had more texts
