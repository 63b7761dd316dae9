"""Running a session with inputs and outputs bound to buffers on its device, a set of buffers for each shape.

A CUDA graph replays its kernels at the addresses and shapes it was captured with. So batches are padded up to few
shapes, and each shape has buffers of its own: ids and mask are copied in, k ids and weights a text are copied out, and
nothing else crosses the bus.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..batching import Limits
from ..errors import DeviceError, InputError
from .padding import pad

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .base import TopK

    Ids = NDArray[np.int64]

logger = logging.getLogger("spladert")

BATCHES = (1, 2, 4, 8, 16, 32)
LENGTHS = (8, 16, 32, 64)
NO_GRAPH = -1  # ONNX Runtime's gpu_graph_id of a batch that is neither captured nor replayed


@dataclass(frozen=True)
class Layout:
    """What buffers look like: where they are, k, what pads a text, and the most tokens of one."""

    memory: str  # "cuda" or "cpu", as ONNX Runtime names it
    top_k: int
    pad_token_id: int
    max_length: int

    def bucket(self, batch: int, length: int) -> tuple[int, int] | None:
        """The smallest (batch, length) of the buckets that holds such a batch; None where none does."""
        lengths = sorted({min(size, self.max_length) for size in LENGTHS})
        rows = next((size for size in BATCHES if size >= batch), None)
        columns = next((size for size in lengths if size >= length), None)
        return None if rows is None or columns is None else (rows, columns)

    def fit(self, input_ids: Ids, attention_mask: Ids, shape: tuple[int, int]) -> tuple[Ids, Ids]:
        """Ids and mask in an array of `shape`. Rows that are only there to fill it have one token each: attention to
        no token at all would not be a number."""
        ids, mask = np.full(shape, self.pad_token_id, np.int64), np.zeros(shape, np.int64)
        rows, columns = input_ids.shape
        ids[:rows, :columns], mask[:rows, :columns] = input_ids, attention_mask
        mask[rows:, 0] = 1
        return ids, mask


class _Buffers:
    """Inputs and outputs of one shape, bound to a session."""

    def __init__(self, ort: Any, session: Any, layout: Layout, shape: tuple[int, int], graph_id: int) -> None:
        def make(size: tuple[int, int], kind: type) -> Any:
            return ort.OrtValue.ortvalue_from_shape_and_type(size, kind, layout.memory, 0)

        self._session = session
        self._ids, self._mask = make(shape, np.int64), make(shape, np.int64)
        outputs = (shape[0], layout.top_k)
        self._indices, self._values = make(outputs, np.int32), make(outputs, np.float32)
        self._binding = session.io_binding()
        self._binding.bind_ortvalue_input("input_ids", self._ids)
        self._binding.bind_ortvalue_input("attention_mask", self._mask)
        self._binding.bind_ortvalue_output("indices", self._indices)
        self._binding.bind_ortvalue_output("values", self._values)
        self._options = ort.RunOptions()
        self._options.add_run_config_entry("gpu_graph_id", str(graph_id))

    def run(self, ids: Ids, mask: Ids, rows: int) -> TopK:
        """The first `rows` rows of the result, in memory of their own."""
        self._ids.update_inplace(ids)
        self._mask.update_inplace(mask)
        self._session.run_with_iobinding(self._binding, self._options)
        return self._indices.numpy()[:rows].copy(), self._values.numpy()[:rows].copy()


class Worker:
    """A session with its buffers, on a thread of its own: ONNX Runtime keeps CUDA graphs by thread.

    `start` makes a session, with CUDA graphs or without; where the provider refuses them, at the start or in a batch,
    one warning says so and the worker goes on without.
    """

    def __init__(self, ort: Any, start: Callable[[bool], Any], layout: Layout, *, capture: bool) -> None:
        self._ort, self._start, self.layout = ort, start, layout
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="spladert")
        self._buffers: dict[tuple[int, int], _Buffers] = {}
        self.captures = capture
        self.session = self._thread.submit(self._open).result()

    @property
    def buckets(self) -> list[tuple[int, int]]:
        """Shapes that have buffers, (batch, length), in the order they were made."""
        return list(self._buffers)

    def close(self) -> None:
        """End the thread and let the session and its buffers go."""
        self._thread.shutdown()
        self._buffers.clear()
        self.session = None

    def run(self, input_ids: Ids, attention_mask: Ids) -> TopK:
        """One batch; int32 and float32 [batch, k]. To be called by one thread at a time."""
        return self._thread.submit(self._run, input_ids, attention_mask).result()

    def _open(self) -> Any:
        try:
            return self._start(self.captures)
        except DeviceError as error:
            if not self.captures:
                raise
            return self._without_graphs(error)

    def _without_graphs(self, error: Exception) -> Any:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        self.captures = False
        session = self._start(False)
        logger.warning("CUDA graphs are off, short texts take longer: %s", reason)
        return session

    def _run(self, input_ids: Ids, attention_mask: Ids) -> TopK:
        try:
            return self._run_bound(input_ids, attention_mask)
        except Exception as error:  # onnxruntime raises a dozen classes of its own, all straight from Exception
            if not self.captures:
                rows, length = input_ids.shape
                raise DeviceError(f"a batch of {rows} x {length} tokens failed on the device: {error}") from error
            self._buffers.clear()
            self.session = self._without_graphs(error)
            return self._run(input_ids, attention_mask)

    def _run_bound(self, input_ids: Ids, attention_mask: Ids) -> TopK:
        rows, length = input_ids.shape
        shape = self.layout.bucket(rows, length)
        if shape is None:  # large batches: their kernels take longer than their launches
            buffers = _Buffers(self._ort, self.session, self.layout, (rows, length), NO_GRAPH)
            return buffers.run(input_ids, attention_mask, rows)
        if shape not in self._buffers:
            graph_id = len(self._buffers) + 1 if self.captures else NO_GRAPH
            self._buffers[shape] = _Buffers(self._ort, self.session, self.layout, shape, graph_id)
        return self._buffers[shape].run(*self.layout.fit(input_ids, attention_mask, shape), rows)


class BoundEngine:
    """An `Engine` over workers, at most `most`: the second is opened when the first is busy, and so on.

    Attributes:
        workers: those that are open.
        session: the first worker's session.
    """

    def __init__(self, open_worker: Callable[[], Worker], limits: Limits, *, most: int) -> None:
        self._open, self._most = open_worker, most
        self._free: queue.LifoQueue[Worker] = queue.LifoQueue()
        self._growing = threading.Lock()
        self._opened = 1
        self.limits = limits
        self.workers = [open_worker()]
        self.session = self.workers[0].session
        self.providers: tuple[str, ...] = tuple(self.session.get_providers())
        self.runs_on = "ONNX Runtime"
        self._free.put(self.workers[0])

    def run(self, rows: Sequence[Sequence[int]]) -> TopK:
        worker = self._take()
        try:
            return worker.run(*pad(rows, worker.layout.pad_token_id))
        finally:
            self._free.put(worker)

    def close(self) -> None:
        for worker in self.workers:
            worker.close()
        self.session = None

    def _take(self) -> Worker:
        if self.session is None:
            raise InputError("this encoder is closed; load it again")
        try:
            return self._free.get_nowait()
        except queue.Empty:
            pass
        with self._growing:
            grow = self._opened < self._most
            self._opened += grow
        if not grow:
            return self._free.get()
        try:
            worker = self._open()
        except DeviceError as error:  # no memory for the weights once more, for instance
            logger.warning("one batch at a time from here on: %s", error)
            self._most = 1
            return self._free.get()
        self.workers.append(worker)
        return worker
