"""What a job writes to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ...encoder import SparseEncoder
from ...vectors import SparseVectors
from ..job import Job, Progress
from ..records import BadRecord, Record


class Sink(Protocol):
    """Where vectors go: a file, a folder, a stream or a store. All calls come from one thread, in this order.

    Attributes:
        checkpoint: the folder that tells the next run where to go on; None if nothing does.
        report: what there is to say when the job has ended, a sentence each.
        refused: documents that could be encoded, but that the output does not take; counted when the job has ended.
        keeps_fields: whether what a record has beside its id and text is written too.
    """

    report: tuple[str, ...]
    refused: int
    keeps_fields: bool

    @property
    def checkpoint(self) -> Path | None: ...

    def resume(self, job: Job) -> Progress:
        """Begin, or go on from the last `commit` of an interrupted run of the same job.

        What was written after that commit is undone, or is overwritten by being written again.

        Raises:
            InputError: what an interrupted run left belongs to another job.
        """

    def write(self, records: Sequence[Record], vectors: SparseVectors) -> None:
        """Take the vectors of these records, of the same length."""

    def reject(self, records: Sequence[BadRecord]) -> None:
        """Keep bad records that are skipped."""

    def commit(self, progress: Progress) -> None:
        """Make what was written and rejected so far last; `resume` gives `progress` back after a kill."""

    def finish(self) -> None:
        """The input is at its end: make the output whole."""


@dataclass(frozen=True)
class Vocabulary:
    """How a vector's entries are written.

    Attributes:
        size: number of ids.
        names: the tokens by id, no two alike, where they are written instead of the ids.
    """

    size: int
    names: Sequence[str] | None = None

    @classmethod
    def of(cls, encoder: SparseEncoder, *, tokens: bool) -> Vocabulary:
        return cls(encoder.manifest.vocabulary_size, encoder.tokens.tolist() if tokens else None)
