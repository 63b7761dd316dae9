"""What the sinks of files have in common: everything is spooled beside the output, which appears whole at the end.

The next run of the same job goes on from the last commit: what was written after it is cut off, so that the output
has the same bytes as that of a run that was never interrupted.
"""

from __future__ import annotations

import shutil
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar

from ...counting import counted
from ...errors import InputError
from ...vectors import SparseVectors
from ..job import Job, Progress
from ..place import Place
from ..records import BadRecord, Record
from ..spool import Spool, named_errors
from .base import Vocabulary

ERRORS = "errors.jsonl"
ROWS_PER_GROUP = 16_384


class SpooledSink(ABC):
    """A sink of one file, or of a folder of parts; a context manager, which locks the spool.

    Attributes:
        spool_files: names of the files that `write` appends to.
    """

    spool_files: ClassVar[tuple[str, ...]]
    report: tuple[str, ...] = ()
    refused = 0
    keeps_fields = False

    def __init__(self, place: Place, vocabulary: Vocabulary, *, rows_per_group: int = ROWS_PER_GROUP) -> None:
        """
        Args:
            place: where the output appears.
            vocabulary: how entries are written.
            rows_per_group: rows of a step of assembly, and of a row group of parquet.
        """
        self.place = place
        self.vocabulary = vocabulary
        self.rows_per_group = rows_per_group
        self.spool = Spool(place.partial, [*self.spool_files, ERRORS])
        self._job: dict[str, Any] = {}
        self._progress = Progress()

    def __enter__(self) -> SpooledSink:
        self.spool.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.spool.__exit__(kind, error, trace)

    @property
    def checkpoint(self) -> Path:
        return self.spool.folder

    def resume(self, job: Job) -> Progress:
        self._job = job.facts()
        saved = self.spool.saved()
        if saved is None:
            if self.place.errors.exists() and not self.place.overwrite:
                raise InputError(f"{self.place.errors} exists already; move it away, or replace it with --overwrite")
            self.spool.restore({})
            return self._progress
        different = [name for name in self._job if saved.job.get(name) != self._job[name]]
        if different:
            raise InputError(
                f"{self.spool.folder} is left of an interrupted run with a different {' and '.join(different)}: "
                "run with the same again to finish it, or delete that folder to start over"
            )
        self.spool.restore(saved.sizes)
        self._progress = saved.progress
        return self._progress

    @abstractmethod
    def write(self, records: Sequence[Record], vectors: SparseVectors) -> None: ...

    def reject(self, records: Sequence[BadRecord]) -> None:
        self.spool.append({ERRORS: b"".join(record.to_json() for record in records)})

    def refuse(self, records: Sequence[BadRecord]) -> None:
        """Keep records that the format cannot hold; `report` says so at the end."""
        if records:
            self.reject(records)

    def commit(self, progress: Progress) -> None:
        self.spool.save(self._job, progress)
        self._progress = progress

    def finish(self) -> None:
        assembly = self.spool.assembly()
        with named_errors(assembly):
            files = self.assemble(assembly)
        with (self.spool.folder / ERRORS).open("rb") as lines:
            errors = sum(1 for _ in lines)
        self.refused = errors - self._progress.errors
        if self.refused:
            self.report = (f"{counted(self.refused, 'document')} cannot be in this format, see {self.place.errors}",)
        if errors:
            shutil.copyfile(self.spool.folder / ERRORS, self.place.errors)
        elif self.place.overwrite:
            self.place.errors.unlink(missing_ok=True)
        self.place.publish(files)
        self.spool.remove()

    @abstractmethod
    def assemble(self, folder: Path) -> list[Path]:
        """Make the output's files of the spool in `folder`, under the names that the place gives them."""
