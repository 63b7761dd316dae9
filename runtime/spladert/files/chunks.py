"""Cutting records into chunks, the steps in which a job goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from .ahead import Ahead
from .job import ChunkLimits
from .records import BadRecord, Record


@dataclass
class Chunk:
    """Consecutive records.

    Attributes:
        all: the good and the bad ones in input order.
        good: those to encode.
        bad: the others.
        size: bytes that they take in the input, about.
        position: where in the input's file the reading was when they were read.
    """

    all: list[Record | BadRecord] = field(default_factory=list)
    good: list[Record] = field(default_factory=list)
    bad: list[BadRecord] = field(default_factory=list)
    size: int = 0
    position: int = 0

    def add(self, record: Record | BadRecord) -> None:
        self.all.append(record)
        if isinstance(record, Record):
            self.good.append(record)
        else:
            self.bad.append(record)
        self.size += record.size


class ChunkReader(Ahead[Chunk]):
    """Chunks of records, read in a thread of its own.

    Where a chunk ends depends on its own records alone, so that a run that begins at a chunk has the same ones from
    there. With `patience` it depends on time too: who waits for a chunk gets what there is after so many seconds.
    """

    def __init__(
        self,
        records: Iterable[Record | BadRecord],
        limits: ChunkLimits,
        *,
        skip_errors: bool = True,
        patience: float | None = None,
        position: Callable[[], int] = lambda: 0,
    ) -> None:
        """
        Args:
            records: read in order, in the thread.
            limits: of a chunk; its last record may exceed them.
            skip_errors: go on after a bad record; without, it is the last of its chunk.
            patience: seconds; None waits until a chunk is full.
            position: where in the input's file the reading is.
        """
        super().__init__(self._cut(records))
        self._limits = limits
        self._skip_errors = skip_errors
        self._patience = patience
        self._position = position
        self._open = Chunk()  # the one that is being filled

    def __next__(self) -> Chunk:
        if self._patience is not None:
            with self._changed:
                self._changed.wait_for(lambda: self._open.all or self._may_take())
                if not self._changed.wait_for(self._may_take, self._patience) and self._open.all:
                    return self._cut_off()
        return super().__next__()

    def _cut(self, records: Iterable[Record | BadRecord]) -> Iterator[Chunk]:
        error = None
        try:
            for record in records:
                with self._changed:
                    self._open.add(record)
                    if self._patience is not None and len(self._open.all) == 1:
                        self._changed.notify_all()
                    chunk = self._cut_off() if self._is_full(self._open) else None
                if chunk is not None:
                    yield chunk
        except Exception as caught:  # raised after the records before it
            error = caught
        chunk = self._cut_off()
        if chunk.all:
            yield chunk
        if error is not None:
            raise error

    def _is_full(self, chunk: Chunk) -> bool:
        reached = len(chunk.all) >= self._limits.records or chunk.size >= self._limits.bytes
        return reached or (bool(chunk.bad) and not self._skip_errors)

    def _cut_off(self) -> Chunk:
        with self._changed:
            chunk, self._open = self._open, Chunk()
        chunk.position = self._position()
        return chunk
