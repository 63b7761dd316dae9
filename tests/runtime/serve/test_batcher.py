"""The queue alone, over a run whose batches are looked at."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spladert.batching import Limits, batches
from spladert.serve.batcher import Batcher, Job
from spladert.serve.metrics import Metrics
from spladert.serve.refusals import RefusalError

LIMITS = Limits(tokens=32, batch_cost=4, texts=8)


class Recorder:
    """A run that gives each row its first id and its length, once the gate is open."""

    def __init__(self) -> None:
        self.batches: list[list[list[int]]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.error: Exception | None = None

    def __call__(self, rows: Sequence[Sequence[int]]) -> tuple[Any, Any]:
        self.batches.append([list(row) for row in rows])
        assert self.gate.wait(10)
        if self.error is not None:
            raise self.error
        indices = np.array([[row[0]] for row in rows], np.int32)
        return indices, np.array([[len(row)] for row in rows], np.float32)


def queue_of(recorder: Recorder, **options: Any) -> Batcher:
    return Batcher(recorder, LIMITS, Metrics(), **options)


def in_loop(test: Callable[[Recorder], Coroutine[Any, Any, None]]) -> None:
    recorder = Recorder()
    asyncio.run(asyncio.wait_for(test(recorder), 20))


def results(job: Job) -> list[tuple[int, float]]:
    """Of each row, in order, what the run gave."""
    found: dict[int, tuple[int, float]] = {}
    for part in job.result.result():
        for position, index, value in zip(part.positions, part.indices[:, 0], part.values[:, 0], strict=True):
            assert int(position) not in found, "a row came twice"
            found[int(position)] = int(index), float(value)
    return [found[i] for i in sorted(found)]


def row(first: int, length: int) -> list[int]:
    return [first] + [1] * (length - 1)


def test_an_idle_engine_starts_at_once() -> None:
    async def test(recorder: Recorder) -> None:
        job = queue_of(recorder).submit([row(7, 3)])
        await job.result
        assert results(job) == [(7, 3.0)]
        assert job.batch_texts == 1

    in_loop(test)


def test_what_arrives_meanwhile_shares_batches_cut_by_cost_and_queries_go_first() -> None:
    async def test(recorder: Recorder) -> None:
        batcher = queue_of(recorder)
        recorder.gate.clear()
        first = batcher.submit([row(1, 5)])
        documents = [batcher.submit([row(10 + i, 4)]) for i in range(3)] + [batcher.submit([row(20, 30)])]
        queries = [batcher.submit([row(100 + i, 4)], query=True) for i in range(2)]
        assert batcher.waiting == 6
        recorder.gate.set()
        await asyncio.gather(*(job.result for job in [first, *documents, *queries]))
        assert [[r[0] for r in batch] for batch in recorder.batches] == [[1], [100, 101], [10, 11, 12], [20]]
        assert batcher.waiting == 0
        assert first.batch_texts == 1
        assert queries[0].batch_texts == 2

    in_loop(test)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.integers(0, 40), min_size=1, max_size=12), min_size=1, max_size=12), st.data())
def test_every_row_comes_back_once_to_its_own_job(jobs: list[list[int]], data: st.DataObject) -> None:
    queries = data.draw(st.lists(st.booleans(), min_size=len(jobs), max_size=len(jobs)))
    rows = [[row(1000 * j + i, n) if n else [] for i, n in enumerate(lengths)] for j, lengths in enumerate(jobs)]

    async def test(recorder: Recorder) -> None:
        batcher = queue_of(recorder)
        submitted = [batcher.submit(own, query=query) for own, query in zip(rows, queries, strict=True)]
        await asyncio.gather(*(job.result for job in submitted))
        for job, own in zip(submitted, rows, strict=True):
            assert results(job) == [(r[0], float(len(r))) for r in own if r]
        for batch in recorder.batches:
            lengths = [len(r) for r in batch]
            assert len(batch) <= LIMITS.fitting(max(lengths))
            assert list(batches(lengths, LIMITS)) == [sorted(range(len(batch)), key=lambda i: -lengths[i])]

    in_loop(test)


@pytest.mark.parametrize(("padded", "padding"), [(True, 2.0), (False, 0.0)])
def test_padding_is_counted_where_the_engine_pads(padded: bool, padding: float) -> None:
    async def test(recorder: Recorder) -> None:
        metrics = Metrics()
        job = Batcher(recorder, Limits(tokens=32, batch_cost=4, padded=padded), metrics).submit([row(1, 5), row(2, 3)])
        await job.result
        assert f"spladert_padding_tokens_total {padding}" in metrics.exposition().decode().splitlines()

    in_loop(test)


def test_the_longest_wait_is_over_first() -> None:
    """A batch is the one with the oldest text, however cheap others would be."""

    async def test(recorder: Recorder) -> None:
        batcher = queue_of(recorder)
        recorder.gate.clear()
        jobs = [batcher.submit([row(0, 2)]), batcher.submit([row(1, 31)])]
        jobs += [batcher.submit([row(2 + i, 2)]) for i in range(8)]
        recorder.gate.set()
        await asyncio.gather(*(job.result for job in jobs))
        assert recorder.batches[1][0][0] == 1

    in_loop(test)


def test_a_full_queue_refuses() -> None:
    async def test(recorder: Recorder) -> None:
        batcher = queue_of(recorder, max_queue=4)
        recorder.gate.clear()
        running = batcher.submit([row(0, 2)])
        waiting = batcher.submit([row(1, 2)] * 3)
        with pytest.raises(RefusalError) as refused:
            batcher.submit([row(2, 2)] * 2)
        assert refused.value.status == 429
        assert int((refused.value.headers or {})["Retry-After"]) >= 1
        fits = batcher.submit([row(3, 2)])
        recorder.gate.set()
        await asyncio.gather(running.result, waiting.result, fits.result)
        await batcher.submit([row(2, 2)] * 2).result

    in_loop(test)


def test_what_is_cancelled_does_not_run() -> None:
    async def test(recorder: Recorder) -> None:
        batcher = queue_of(recorder)
        recorder.gate.clear()
        running, gone, kept = (batcher.submit([row(i, 2), row(i, 3)]) for i in range(3))
        batcher.cancel(gone)
        batcher.cancel(running)
        assert batcher.waiting == 2
        recorder.gate.set()
        await kept.result
        assert gone.result.cancelled()
        assert running.result.cancelled()
        assert 1 not in {r[0] for batch in recorder.batches for r in batch}

    in_loop(test)


def test_a_failed_batch_fails_its_jobs_alone() -> None:
    async def test(recorder: Recorder) -> None:
        batcher = queue_of(recorder)
        recorder.gate.clear()
        bad = batcher.submit([row(0, 2)] * 20)
        recorder.error = RuntimeError("no memory\nand more")
        recorder.gate.set()
        with pytest.raises(RefusalError, match="no memory") as failed:
            await bad.result
        assert failed.value.status == 424
        assert "and more" not in failed.value.message
        assert not batcher.healthy
        assert batcher.waiting == 0
        recorder.error = None
        good = batcher.submit([row(1, 2)])
        await good.result
        assert batcher.healthy

    in_loop(test)


def test_an_idle_engine_waits_for_company_where_it_is_told_to() -> None:
    async def test(recorder: Recorder) -> None:
        batcher = queue_of(recorder, max_wait=0.2)
        started = time.perf_counter()
        first = batcher.submit([row(0, 2)])
        await asyncio.sleep(0.05)
        second = batcher.submit([row(1, 2)])
        await asyncio.gather(first.result, second.result)
        assert time.perf_counter() - started >= 0.2
        assert recorder.batches == [[row(0, 2), row(1, 2)]]
        full = batcher.submit([row(i, 4) for i in range(8)])
        started = time.perf_counter()
        await full.result
        assert time.perf_counter() - started < 0.2, "a full batch does not wait"

    in_loop(test)
