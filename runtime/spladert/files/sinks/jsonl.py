"""JSON lines: a line a vector, plain or compressed, into files and streams."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, ClassVar

import numpy as np

from ...errors import InputError
from ...vectors import SparseVectors
from ..compression import compressed
from ..job import Job, Progress
from ..place import Place
from ..records import BadRecord, Record
from .base import Vocabulary
from .spooled import SpooledSink

JSONL = "vectors.jsonl"


# (records, vectors, tokens by id or None for ids) -> the lines, and those records that cannot be in them
LineWriter = Callable[[Sequence[Record], SparseVectors, Sequence[str] | None], tuple[bytes, list[BadRecord]]]


def jsonl_lines(
    records: Sequence[Record], vectors: SparseVectors, names: Sequence[str] | None
) -> tuple[bytes, list[BadRecord]]:
    """A line a vector: `{"id", "indices", "values"}`, or `{"id", "vector": {token: weight}}` with `names`.

    Weights have the fewest digits that give the same float32 back. A passage has its "begin" and "end" behind its id.

    Raises:
        InputError: a weight is infinite, which JSON cannot hold.
    """
    check_finite(vectors)
    indices = vectors.indices.tolist()
    weights = vectors.values.astype(str).tolist()
    lines = []
    for row, record in enumerate(records):
        part = slice(vectors.indptr[row], vectors.indptr[row + 1])
        if names is None:
            body = f'"indices":[{",".join(map(str, indices[part]))}],"values":[{",".join(weights[part])}]'
        else:
            pairs = zip(indices[part], weights[part], strict=True)
            body = '"vector":{' + ",".join(f"{_json(names[i])}:{weight}" for i, weight in pairs) + "}"
        part_of = "" if record.passage is None else f'"begin":{record.passage.begin},"end":{record.passage.end},'
        lines.append(f'{{"id":{_json(record.id)},{part_of}{body}}}\n')
    return "".join(lines).encode("utf-8"), []


def check_finite(vectors: SparseVectors) -> None:
    """
    Raises:
        InputError: a weight is infinite.
    """
    if not np.isfinite(vectors.values).all():
        raise InputError("the model gave an infinite weight, which JSON cannot hold; try another precision")


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


class JsonlSink(SpooledSink):
    """JSON lines in a file, which is its own spool, or in a folder of parts; compressed when they are whole."""

    spool_files: ClassVar[tuple[str, ...]] = (JSONL,)

    def __init__(
        self,
        place: Place,
        vocabulary: Vocabulary,
        *,
        compression: str | None = None,
        lines: LineWriter = jsonl_lines,
        lines_per_record: int = 1,
    ) -> None:
        super().__init__(place, vocabulary)
        self._compression, self._lines, self._lines_per_record = compression, lines, lines_per_record
        self.keeps_fields = lines is not jsonl_lines  # a feed's lines are whole documents

    def write(self, records: Sequence[Record], vectors: SparseVectors) -> None:
        content, refused = self._lines(records, vectors, self.vocabulary.names)
        self.spool.append({JSONL: content})
        self.refuse(refused)

    def assemble(self, folder: Path) -> list[Path]:
        spooled = self.spool.folder / JSONL
        rows = self.place.rows_per_part
        if rows is None and self._compression is None:
            return [spooled]
        files: list[Path] = []
        with spooled.open("rb") as lines:
            while lines.peek(1) or not files:
                files.append(folder / self.place.name(len(files)))
                with files[-1].open("wb") as plain, _through(plain, self._compression) as part:
                    if rows is None:
                        shutil.copyfileobj(lines, part)
                    else:
                        for line in islice(lines, rows * self._lines_per_record):
                            part.write(line)
        return files


def _through(stream: IO[bytes], compression: str | None) -> IO[bytes]:
    return stream if compression is None else compressed(stream, compression)


class JsonlStream:
    """JSON lines into a stream, flushed after each chunk; there is nothing to resume."""

    checkpoint = None
    report: tuple[str, ...] = ()
    refused = 0
    keeps_fields = False  # nothing is resumed

    def __init__(
        self,
        stream: IO[bytes],
        vocabulary: Vocabulary,
        skipped: Callable[[BadRecord], None],
        *,
        compression: str | None = None,
        lines: LineWriter = jsonl_lines,
    ) -> None:
        """
        Args:
            stream: what to write to; it stays open.
            vocabulary: how entries are written.
            skipped: called with each bad record that is skipped.
            compression: an ending of `compression.ENDINGS`.
            lines: what makes the lines.
        """
        self._stream = stream
        self._written = _through(stream, compression)
        self._lines = lines
        self._vocabulary = vocabulary
        self._skipped = skipped

    def resume(self, job: Job) -> Progress:
        return Progress()

    def write(self, records: Sequence[Record], vectors: SparseVectors) -> None:
        content, refused = self._lines(records, vectors, self._vocabulary.names)
        self._written.write(content)
        self._written.flush()
        self.refused += len(refused)
        self.reject(refused)

    def reject(self, records: Sequence[BadRecord]) -> None:
        for record in records:
            self._skipped(record)

    def commit(self, progress: Progress) -> None:
        """What was written is out of our hands."""

    def finish(self) -> None:
        if self._written is not self._stream:
            self._written.close()
        self._stream.flush()
