"""Dynamic batching: texts of many requests share the runs of the graph.

An idle engine starts at once (or after `max_wait`), and what arrives while it runs makes the next batches: the busier
the server, the larger they are. Which texts share a batch is decided by the cost model of `SparseEncoder.encode`.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from ..batching import Limits, batches
from ..vectors import TopK
from .metrics import Metrics
from .refusals import RefusalError, failed, overloaded

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Run = Callable[[Sequence[Sequence[int]]], tuple[NDArray[np.int32], NDArray[np.float32]]]

WINDOW = 8  # full batches' worth of waiting texts that are looked at for the next batch
SMOOTHING = 0.1  # weight of the last batch in the measured rate


class Job:
    """The texts of one request on their way.

    Attributes:
        rows: token ids of each text.
        result: what the graph gave, once all texts are through.
        queued, started, finished: `time.perf_counter()` when it came, when its first batch began, when its last ended.
        batch_texts: texts of its last batch, those of other requests included.
    """

    __slots__ = ("batch_texts", "finished", "left", "parts", "queued", "result", "rows", "started")

    def __init__(self, rows: Sequence[Sequence[int]], result: asyncio.Future[list[TopK]]) -> None:
        self.rows, self.result = rows, result
        self.parts: list[TopK] = []
        self.left = sum(map(bool, rows))
        self.queued = self.started = self.finished = time.perf_counter()
        self.batch_texts = 0


Item = tuple[Job, int]  # a text: its job and its position there


class Batcher:
    """Runs the graph in a thread of its own, one batch after another. All methods belong to one event loop.

    Attributes:
        healthy: whether the last batch ran.
    """

    def __init__(
        self, run: Run, limits: Limits, metrics: Metrics, *, max_queue: int = 2048, max_wait: float = 0.0
    ) -> None:
        self._run, self._limits, self._metrics = run, limits, metrics
        self._max_queue, self._max_wait = max_queue, max_wait
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="spladert-engine")
        self._queries: deque[Item] = deque()
        self._documents: deque[Item] = deque()
        self._waiting = 0
        self._waiting_tokens = 0
        self._tokens_per_second = 0.0
        self._running = False
        self._refusing = False
        self._timer: asyncio.TimerHandle | None = None
        self.healthy = True

    @property
    def waiting(self) -> int:
        """Texts that wait for a batch."""
        return self._waiting

    def overload(self) -> RefusalError | None:
        """What every request is answered with, unread, from a first refusal to the next batch: else the server would
        spend its time on requests that it cannot take, and small ones would never leave room for large ones."""
        return overloaded(self._retry_after()) if self._refusing else None

    def check_room(self, texts: int) -> None:
        """See whether so many texts would fit in the queue, before work is spent on them.

        Raises:
            RefusalError: 429, they would not.
        """
        if self._waiting + texts > self._max_queue:
            self._refusing = self._running
            raise overloaded(self._retry_after())

    def submit(self, rows: Sequence[Sequence[int]], *, query: bool = False) -> Job:
        """Queue the texts of a request; queries go before documents.

        Raises:
            RefusalError: 429, they would not fit in the queue.
        """
        job = Job(rows, asyncio.get_running_loop().create_future())
        self.check_room(job.left)
        if not job.left:
            job.result.set_result([])
            return job
        queue = self._queries if query else self._documents
        queue.extend((job, position) for position, row in enumerate(rows) if row)
        self._count(job.left, sum(map(len, rows)))
        if not self._running:
            self._start_next()
        return job

    def cancel(self, job: Job) -> None:
        """Nobody wants the result any more: what of `job` has not begun does not begin."""
        if not job.result.done():
            job.result.cancel()
            self._drop(job)

    def close(self) -> None:
        """End the thread, after the batch it runs."""
        self._thread.shutdown()

    def _count(self, texts: int, tokens: int) -> None:
        self._waiting += texts
        self._waiting_tokens += tokens
        self._metrics.waiting.set(self._waiting)

    def _retry_after(self) -> int:
        """Whole seconds in which what waits now is likely done."""
        if not self._tokens_per_second:
            return 1
        return min(max(math.ceil(self._waiting_tokens / self._tokens_per_second), 1), 60)

    def _start_next(self) -> None:
        queue = self._queries or self._documents
        if not queue:
            return
        if self._max_wait and self._waiting_tokens < self._limits.tokens and self._waiting < self._limits.texts:
            left = queue[0][0].queued + self._max_wait - time.perf_counter()
            if left > 0:
                if self._timer is None:
                    self._timer = asyncio.get_running_loop().call_later(left, self._waited)
                return
        items = self._take(queue)
        rows = [job.rows[position] for job, position in items]
        tokens = sum(map(len, rows))
        self._count(-len(items), -tokens)
        self._running, self._refusing = True, False
        started = time.perf_counter()
        for job, _ in items:
            if not job.batch_texts:
                job.started = started
                self._metrics.queue.observe(started - job.queued)
            job.batch_texts = len(items)
        running = asyncio.get_running_loop().run_in_executor(self._thread, self._run, rows)
        running.add_done_callback(lambda done: self._finish(items, tokens, started, done))

    def _waited(self) -> None:
        self._timer = None
        if not self._running:
            self._start_next()

    def _take(self, queue: deque[Item]) -> list[Item]:
        """The batch with the text that has waited longest, out of the front of the queue."""
        window: list[Item] = []
        tokens = 0
        most = WINDOW * min(self._limits.texts, self._limits.tokens)
        while queue and len(window) < most and tokens < WINDOW * self._limits.tokens:
            window.append(queue.popleft())
            tokens += len(window[-1][0].rows[window[-1][1]])
        if len(window) == 1:
            return window
        cut = batches([len(job.rows[position]) for job, position in window], self._limits)
        chosen = set(next(positions for positions in cut if 0 in positions))
        queue.extendleft(item for i, item in reversed(list(enumerate(window))) if i not in chosen)
        return [window[i] for i in sorted(chosen)]

    def _finish(
        self,
        items: list[Item],
        tokens: int,
        started: float,
        done: asyncio.Future[tuple[NDArray[np.int32], NDArray[np.float32]]],
    ) -> None:
        finished = time.perf_counter()
        self._running = False
        self._start_next()  # before the answers, so that the engine does not wait for them
        error = done.exception()
        self.healthy = error is None
        if error is not None:
            for job, _ in items:
                self._fail(job, error)
            return
        seconds = finished - started
        longest = max(len(job.rows[position]) for job, position in items)
        padding = longest * len(items) - tokens if self._limits.padded else 0
        self._metrics.batch(len(items), tokens, padding, seconds)
        rate = tokens / seconds
        before = self._tokens_per_second or rate
        self._tokens_per_second = before + SMOOTHING * (rate - before)
        indices, values = done.result()
        for job, positions, at in _by_job(items):
            job.parts.append(TopK(np.array(positions), indices[at], values[at]))
            job.left -= len(positions)
            job.finished = finished
            if not job.left and not job.result.done():
                job.result.set_result(job.parts)

    def _fail(self, job: Job, error: BaseException) -> None:
        if not job.result.done():
            message = str(error).splitlines()[0] if str(error) else type(error).__name__
            job.result.set_exception(failed(f"Inference failed: {message}"))
            self._drop(job)

    def _drop(self, job: Job) -> None:
        """Take the texts of `job` that wait out of the queue."""
        for queue in (self._queries, self._documents):
            dropped = [len(item[0].rows[item[1]]) for item in queue if item[0] is job]
            if dropped:
                kept = [item for item in queue if item[0] is not job]
                queue.clear()
                queue.extend(kept)
                self._count(-len(dropped), -sum(dropped))


def _by_job(items: Sequence[Item]) -> list[tuple[Job, list[int], slice | list[int]]]:
    """A batch's texts by their job: positions in the job, and rows in the batch."""
    grouped: dict[int, tuple[Job, list[int], list[int]]] = {}
    for row, (job, position) in enumerate(items):
        _, positions, rows = grouped.setdefault(id(job), (job, [], []))
        positions.append(position)
        rows.append(row)
    if len(grouped) == 1:
        [(job, positions, _)] = grouped.values()
        return [(job, positions, slice(None))]
    return [(job, positions, rows) for job, positions, rows in grouped.values()]
