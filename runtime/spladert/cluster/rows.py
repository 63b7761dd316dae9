"""The rows of a part as Arrow batches, a bounded number at a time."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import IO, Any

from ..errors import InputError
from ..files.compression import ENDINGS, decompressed
from ..files.lines import read_lines
from ..files.parquet import require_pyarrow
from ..files.readers import MAX_LINE_BYTES, json_object
from ..files.records import UnreadableError
from .job import ClusterJob
from .parts import Part, read_part
from .place import Place

ROWS = 1024  # of a batch, at most
SAMPLE_ROWS = 1000  # of JSON lines, to know their columns from

Reject = Callable[[int, str, str], None]  # line (row) within the part, why, its text


def parquet_batches(source: Place, part: Part) -> Iterator[Any]:
    """Record batches of a part's row groups.

    Raises:
        InputError: the file is damaged.
    """
    pa = require_pyarrow()
    try:
        with source.files.open_input_file(part.path) as stream:
            file = pa.parquet.ParquetFile(stream)
            yield from file.iter_batches(ROWS, row_groups=list(range(part.start, part.stop)), use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{part.path} cannot be read: {error}") from None


def line_objects(source: Place, part: Part, reject: Reject) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line within the part, object) of JSON lines; of a file of text `{"text": line}`."""
    stored = io.BytesIO(read_part(source, part))
    ending = next((ending for ending in ENDINGS if part.path.lower().endswith(ending)), None)
    stream: IO[bytes] = stored if ending is None else decompressed(stored, ending)
    for line in read_lines(stream, MAX_LINE_BYTES, part.path):
        if part.kind == "jsonl" and line.problem is None and not line.raw.strip():
            continue
        try:
            yield line.number, {"text": line.text()} if part.kind == "text" else json_object(line)
        except UnreadableError as error:
            reject(line.number, str(error), line.content.decode("utf-8", "backslashreplace"))


def infer_schema(source: Place, parts: list[Part]) -> Any:
    """The columns of JSON lines, from the first `SAMPLE_ROWS` objects; a field that is always null is a string.

    Raises:
        InputError: a field holds values of several types, so that parquet has no column for it.
    """
    pa = require_pyarrow()
    rows: list[dict[str, Any]] = []
    for part in parts:
        for _, row in line_objects(source, part, lambda line, why, text: None):
            rows.append(row)
            if len(rows) == SAMPLE_ROWS:
                break
        if len(rows) == SAMPLE_ROWS:
            break
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = []
    for name in names:
        try:
            kind = pa.array([row.get(name) for row in rows]).type
        except (pa.ArrowException, TypeError, ValueError) as error:
            raise InputError(
                f"field {name!r} is of no one type over the first rows ({error}): --format jsonl keeps it as it is"
            ) from None
        columns.append(pa.field(name, pa.string() if pa.types.is_null(kind) else kind))
    return pa.schema(columns)


def typed_batches(objects: Iterator[tuple[int, dict[str, Any]]], schema: Any, reject: Reject) -> Iterator[Any]:
    """Record batches of objects; one that does not fit the columns is rejected, and says why."""
    pa = require_pyarrow()
    batch: list[tuple[int, dict[str, Any]]] = []

    def fitting() -> Iterator[Any]:
        rows = [row for _, row in batch]
        if all(row.keys() <= set(schema.names) for row in rows):
            try:
                yield pa.RecordBatch.from_pylist(rows, schema=schema)
                return
            except (pa.ArrowException, TypeError, ValueError, OverflowError):
                pass
        kept = []
        for line, row in batch:
            try:
                if extra := [name for name in row if name not in schema.names]:
                    raise ValueError(f"field {extra[0]!r} is in none of the first rows")
                pa.RecordBatch.from_pylist([row], schema=schema)
            except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
                why = f"it does not fit the columns of the first rows ({error}); --format jsonl keeps any"
                reject(line, why, json.dumps(row))
            else:
                kept.append(row)
        if kept:
            yield pa.RecordBatch.from_pylist(kept, schema=schema)

    for item in objects:
        batch.append(item)
        if len(batch) == ROWS:
            yield from fitting()
            batch.clear()
    if batch:
        yield from fitting()


def with_schema(job: ClusterJob, parts: list[Part]) -> ClusterJob:
    """The job, with the columns of its JSON lines or text where they become parquet."""
    if job.places.store is not None or job.format != "parquet":
        return job
    lines = [part for part in parts if part.kind != "parquet"]
    if not lines:
        return job
    schema = infer_schema(job.source, lines)
    return replace(job, schema=schema.serialize().to_pybytes().hex())
