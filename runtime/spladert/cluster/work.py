"""Encoding one part: from its rows to a file of the output, or to a store; whole, or to be done again."""

from __future__ import annotations

import json
import os
import socket
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ..files import Fields, Job, Record, RunOptions, Summary, encode_records
from ..files.ahead import Ahead
from ..files.parquet import require_pyarrow
from ..files.passages import InPassages
from ..files.records import BadRecord, UnreadableError
from ..files.sinks.store import REASON, REFUSED
from ..passages import PassageCutter, Passages
from ..stores import Connection, Load, open_sink, parse_store_url
from .columns import INDICES, VALUES, Texts, run, tokenize, vector_columns
from .job import ERRORS, ClusterJob, record_done
from .parts import Part
from .report import PartReport
from .rows import ROWS, TEXT, line_objects, parquet_batches, passage_rows, passage_schema, typed_batches

if TYPE_CHECKING:
    from ..encoder import SparseEncoder
    from ..tokenizer import TokenizedTexts
    from ..vectors import SparseVectors


CHARACTERS = 2**22  # of the texts of a block of objects, about


def encode_part(
    encoder: SparseEncoder, job: ClusterJob, part: Part, *, batch_size: int = 32, connection: Connection | None = None
) -> PartReport:
    """Encode a part, and record that it is done. Done twice, it writes the same in the same place.

    Raises:
        InputError: the input or the output cannot be read or written; rows that cannot be encoded are no error, they
            go beside the output.
        StoreError: the store refuses as a whole, or does not answer.
    """
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="spladert-part-") as folder:
        with _Rejected(Path(folder) / "rejected.jsonl", part) as rejected:
            if job.places.store is None:
                counts = _to_file(encoder, job, part, Path(folder), rejected, batch_size)
            else:
                counts = _to_store(encoder, job, part, Path(folder), rejected, batch_size, connection or Connection())
        rejected.keep(job)
    report = PartReport(
        part=part.number,
        rows=counts.rows,
        tokens=counts.tokens,
        truncated=counts.truncated,
        rejected=rejected.count,
        seconds=time.perf_counter() - started,
        worker=f"{socket.gethostname()}:{os.getpid()}",
        engine=f"{encoder.variant.name}, {encoder.engine.runs_on}",
        file=counts.file,
        bytes=counts.bytes,
    )
    record_done(job, report)
    return report


@dataclass
class _Counts:
    rows: int = 0
    tokens: int = 0
    truncated: int = 0
    file: str | None = None
    bytes: int = 0


class _Rejected:
    """Rows that cannot be encoded, with the reason: lines of JSON beside the output."""

    def __init__(self, path: Path, part: Part) -> None:
        self._path, self._part = path, part
        self.count = 0

    def __enter__(self) -> _Rejected:
        self._file: IO[bytes] = self._path.open("wb")
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __call__(self, line: int, error: str, raw: str) -> None:
        """`line` counts those of the part, which begins at `start`: a row group of parquet, a byte of others.

        Its number in the file would need all that is before it, which may be terabytes.
        """
        self.count += 1
        value = {"file": self._part.path, "start": self._part.start, "line_of_part": line, "error": error, "raw": raw}
        self._file.write(json.dumps(value).encode("ascii") + b"\n")

    def keep(self, job: ClusterJob) -> None:
        if self.count:
            (job.output / ERRORS / f"{self._part.name}.jsonl").take(self._path)


@dataclass(frozen=True)
class _Block:
    """Rows in the order of the part, those that have a text."""

    rows: Any  # a record batch, or a list of objects
    texts: list[str]


def _to_file(
    encoder: SparseEncoder, job: ClusterJob, part: Part, folder: Path, rejected: _Rejected, batch_size: int
) -> _Counts:
    made = _JsonlFile(folder / "part.jsonl") if job.format == "jsonl" else _ParquetFile(folder / "part.parquet")
    counts = _Counts()

    def tokenized() -> Iterator[tuple[_Block, TokenizedTexts]]:
        for block in _blocks(encoder, job, part, rejected):
            yield block, tokenize(encoder, block.texts, job.encoding)

    ahead = Ahead(tokenized())  # tokenizing overlaps the model
    ahead.start()
    try:
        for block, tokens in ahead:
            vectors = run(encoder, tokens, job.encoding, batch_size)
            made.write(block.rows, vectors)
            counts.rows += len(block.texts)
            counts.tokens += sum(map(len, tokens.input_ids))
            counts.truncated += vectors.truncated
    finally:
        ahead.stop()
        made.close()
    if made.path.exists():
        folders = [part.folder] if part.folder else []
        counts.file = "/".join([*folders, f"{part.name}.{job.format}"])
        counts.bytes = made.path.stat().st_size
        (job.output / counts.file).take(made.path)
    return counts


def _blocks(encoder: SparseEncoder, job: ClusterJob, part: Part, rejected: _Rejected) -> Iterator[_Block]:
    fields = job.fields
    if part.kind == "parquet" and job.passages is None:
        yield from _parquet_blocks(job, _numbered(parquet_batches(job.source, part)), fields, rejected)
        return
    objects = _rows(job, part, rejected)
    if job.passages is not None:
        objects, fields = passage_rows(objects, fields, _cutter(encoder, job, job.passages), rejected), Fields((TEXT,))
    if job.format == "jsonl":
        yield from _object_blocks(objects, fields, rejected)
        return
    schema = _schema(job, part)
    if job.passages is not None:
        schema = passage_schema(schema, job.fields)
    yield from _parquet_blocks(job, typed_batches(objects, schema, rejected), fields, rejected)


def _cutter(encoder: SparseEncoder, job: ClusterJob, passages: Passages) -> PassageCutter:
    tokenizer = encoder.tokenizer
    return PassageCutter(tokenizer, passages, tokenizer.room(job.encoding.side, job.encoding.max_length))


def _schema(job: ClusterJob, part: Part) -> Any:
    """The columns of a part's rows."""
    pa = require_pyarrow()
    if part.kind == "parquet":
        with job.source.files.open_input_file(part.path) as stream:
            return pa.parquet.read_schema(stream)
    assert job.schema is not None
    return pa.ipc.read_schema(pa.py_buffer(bytes.fromhex(job.schema)))


def _numbered(batches: Iterator[Any]) -> Iterator[tuple[Any, Sequence[int]]]:
    """Record batches with the numbers of their rows within the part."""
    first = 1
    for batch in batches:
        yield batch, range(first, first + batch.num_rows)
        first += batch.num_rows


def _parquet_blocks(
    job: ClusterJob, batches: Iterator[tuple[Any, Sequence[int]]], fields: Fields, rejected: _Rejected
) -> Iterator[_Block]:
    pa = require_pyarrow()
    for batch, lines in batches:
        found = Texts.of(batch, fields)
        for position, why in found.bad:
            rejected(lines[position], why, json.dumps(batch.slice(position, 1).to_pydict(), default=repr))
        rows = batch if not found.bad else batch.take(pa.array(found.good, pa.int64()))
        if job.format == "jsonl":
            rows = rows.to_pylist()
        yield _Block(rows, found.texts)


def _object_blocks(
    objects: Iterator[tuple[int, dict[str, Any]]], fields: Fields, rejected: _Rejected
) -> Iterator[_Block]:
    rows: list[dict[str, Any]] = []
    texts: list[str] = []
    size = 0
    for line, row in objects:
        try:
            if taken := [name for name in (INDICES, VALUES) if name in row]:
                raise UnreadableError(f"it has a field {taken[0]!r} already, which the vector's would replace")
            text = fields.text_in(row)
        except UnreadableError as error:
            rejected(line, str(error), json.dumps(row, default=repr))
            continue
        rows.append(row)
        texts.append(text)
        size += len(text)
        if len(rows) == ROWS or size >= CHARACTERS:
            yield _Block(rows, texts)
            rows, texts, size = [], [], 0
    if rows:
        yield _Block(rows, texts)


class _ParquetFile:
    """The rows' columns, with those of the vectors."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._writer: Any = None

    def write(self, rows: Any, vectors: SparseVectors) -> None:
        pa = require_pyarrow()
        indices, values = vector_columns(vectors)
        table = pa.Table.from_batches([rows]).append_column(INDICES, indices).append_column(VALUES, values)
        if self._writer is None:
            self._writer = pa.parquet.ParquetWriter(self.path, table.schema)
        self._writer.write_table(table)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


class _JsonlFile:
    """The rows' objects, with `indices` and `values`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("wb")

    def write(self, rows: Sequence[Mapping[str, Any]], vectors: SparseVectors) -> None:
        for row, vector in zip(rows, vectors, strict=True):
            whole = {**row, INDICES: vector.indices.tolist(), VALUES: list(map(float, vector.values.astype(str)))}
            text = json.dumps(whole, ensure_ascii=False, default=str)
            self._file.write(text.encode("utf-8", "backslashreplace") + b"\n")

    def close(self) -> None:
        self._file.close()


def prepare_store(encoder: SparseEncoder, job: ClusterJob, connection: Connection) -> None:
    """Make what the store has to have, once, before several workers find that it is missing.

    Raises:
        InputError: the store cannot be taken, or is another model's.
        StoreError: it refuses, or does not answer.
    """
    with tempfile.TemporaryDirectory(prefix="spladert-store-") as folder:
        _send(encoder, job, iter(()), Load("nothing yet", Path(folder)), RunOptions(), connection)


def _send(
    encoder: SparseEncoder,
    job: ClusterJob,
    records: Iterable[Record | BadRecord],
    load: Load,
    options: RunOptions,
    connection: Connection,
) -> Summary:
    assert job.places.store is not None
    store = parse_store_url(job.places.store)
    with open_sink(store, connection, encoder, load) as sink:
        how = replace(job.encoding, side=job.encoding.side or "document")
        kind = Job.of(encoder, format=store.scheme, encoding=how, passages=job.passages)
        return encode_records(encoder, iter(records), sink, kind, options)


def _to_store(
    encoder: SparseEncoder,
    job: ClusterJob,
    part: Part,
    folder: Path,
    rejected: _Rejected,
    batch_size: int,
    connection: Connection,
) -> _Counts:
    """Through the store's own sink. Where it stopped in the middle is not kept: ids put each document in its place."""
    counts = _Counts()

    def seen() -> Iterator[Record | BadRecord]:
        for record in _records(job, part, rejected):
            counts.rows += 1
            yield record

    load = Load(f"{part.path}:{part.start}-{part.stop}", folder / "state")
    records: Iterable[Record | BadRecord] = seen()
    if job.passages is not None:
        records = InPassages(records, _cutter(encoder, job, job.passages), job.text)
    summary = _send(encoder, job, records, load, RunOptions(batch_size, skip_errors=True), connection)
    counts.tokens, counts.truncated = summary.tokens, summary.truncated
    for left in sorted((folder / "state").glob("*.jsonl")):  # with a name of its job, of REFUSED or ERRORS
        for value in map(json.loads, left.open("rb")):
            why = value.pop(REASON) if left.name.endswith(REFUSED) else value
            rejected(why["line"], why["error"], value["raw"] if why is value else json.dumps(value))
            counts.rows -= 1
    return counts


def _records(job: ClusterJob, part: Part, rejected: _Rejected) -> Iterator[Record]:
    for line, row in _rows(job, part, rejected):
        whole = {**part.partition, **row}
        try:
            yield job.fields.record(line, whole, len(str(row)))
        except UnreadableError as error:
            rejected(line, str(error), json.dumps(row, default=repr))


def _rows(job: ClusterJob, part: Part, reject: Callable[[int, str, str], None]) -> Iterator[tuple[int, dict[str, Any]]]:
    if part.kind != "parquet":
        yield from line_objects(job.source, part, reject)
        return
    line = 0
    for batch in parquet_batches(job.source, part):
        for row in batch.to_pylist():
            line += 1
            yield line, row
