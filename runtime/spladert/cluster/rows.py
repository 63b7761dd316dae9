"""The rows of a part as Arrow batches, a bounded number at a time."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import IO, Any

from ..errors import InputError
from ..files.compression import ENDINGS, decompressed
from ..files.lines import read_lines
from ..files.parquet import require_pyarrow
from ..files.passages import InPassages
from ..files.readers import MAX_LINE_BYTES, json_object
from ..files.records import BadRecord, Fields, UnreadableError, json_name, lone_surrogate
from ..passages import PassageCutter
from .job import ClusterJob
from .parts import Part, read_part
from .place import Place

ROWS = 1024  # of a batch, at most
SAMPLE_ROWS = 1000  # of JSON lines, to know their columns from
MOSTLY = 0.9  # of a column's values are of its type; the others are odd rows, where more are it has none
TEXT, BEGIN, END = "text", "begin", "end"  # of a passage
NO_ID = "passages need their document's id, and there is none (_id, id or docid): name its field with --id-field"

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

    A few odd values among them do not count: their rows fit no column, and `typed_batches` rejects them.

    Raises:
        InputError: a field holds values of several types, so that parquet has no column for it.
    """
    pa = require_pyarrow()
    rows: list[tuple[str, dict[str, Any]]] = []
    for part in parts:
        for line, row in line_objects(source, part, lambda line, why, text: None):
            rows.append((f"line {line} of {part.path}" + f" from byte {part.start:,} on" * (part.start > 0), row))
            if len(rows) == SAMPLE_ROWS:
                break
        if len(rows) == SAMPLE_ROWS:
            break
    columns = []
    for name in dict.fromkeys(name for _, row in rows for name in row):
        found = [(where, row[name]) for where, row in rows if row.get(name) is not None]
        kind = _column_type([value for _, value in found])
        if kind is None:
            where, why = _first_odd(found)
            raise InputError(
                f"field {name!r} is of no one type over the first rows: {where} has another than those before it "
                f"({why}); --format jsonl keeps any"
            )
        columns.append(pa.field(name, pa.string() if pa.types.is_null(kind) else kind))
    return pa.schema(columns)


def _column_type(values: Sequence[object]) -> Any:
    """The Arrow type that a column of JSON values has, but for a few that are odd; None if it has none."""
    if _misfit(values) is None:
        return require_pyarrow().array(values).type
    [(common, _)] = Counter(map(json_name, values)).most_common(1)
    alike = [value for value in values if json_name(value) == common and _misfit([value]) is None]
    if len(alike) < MOSTLY * len(values) or _misfit(alike) is not None:
        return None
    return require_pyarrow().array(alike).type


def _first_odd(found: Sequence[tuple[str, object]]) -> tuple[str, str]:
    """Where the first value is that does not go with those before it, and why."""
    values = [value for _, value in found]
    count = next(count for count in range(1, len(values) + 1) if _misfit(values[:count]) is not None)
    return found[count - 1][0], str(_misfit(values[:count]))


def _misfit(values: Sequence[object], kind: Any = None) -> str | None:
    """Why values make no column, of a type or of any one; None if they do."""
    pa = require_pyarrow()
    try:
        pa.array(values, kind)
    except UnicodeEncodeError as error:
        return f"it {lone_surrogate(error)}"
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        return str(error)
    return None


def _row_misfit(row: dict[str, Any], schema: Any) -> str | None:
    """Why an object is no row of a schema; None if it is."""
    for name in row:
        if name not in schema.names:
            return f"field {name!r} is in none of the first rows; --format jsonl keeps any"
    for column in schema:
        if (why := _misfit([row.get(column.name)], column.type)) is not None:
            return f"field {column.name!r} does not fit its column, {column.type} ({why}); --format jsonl keeps any"
    return None


def typed_batches(
    objects: Iterator[tuple[int, dict[str, Any]]], schema: Any, reject: Reject
) -> Iterator[tuple[Any, Sequence[int]]]:
    """Record batches of objects and their lines; one that does not fit the columns is rejected, and says why."""
    pa = require_pyarrow()
    batch: list[tuple[int, dict[str, Any]]] = []

    def fitting() -> Iterator[tuple[Any, Sequence[int]]]:
        rows = [row for _, row in batch]
        if all(row.keys() <= set(schema.names) for row in rows):
            try:
                yield pa.RecordBatch.from_pylist(rows, schema=schema), [line for line, _ in batch]
                return
            except (pa.ArrowException, TypeError, ValueError, OverflowError):
                pass
        kept = []
        for line, row in batch:
            if (why := _row_misfit(row, schema)) is not None:
                reject(line, why, json.dumps(row, default=repr))
            else:
                kept.append((line, row))
        if kept:
            made = pa.RecordBatch.from_pylist([row for _, row in kept], schema=schema)
            yield made, [line for line, _ in kept]

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


def passage_rows(
    rows: Iterator[tuple[int, dict[str, Any]]], fields: Fields, cutter: PassageCutter, reject: Reject
) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of documents as those of their passages: with the id ID#0 and so on, and the passage for the text."""
    for line, row in rows:
        name = fields.id_in(row)
        kept = {key: value for key, value in row.items() if key not in fields.text}
        try:
            document = fields.record(line, row, 0)
            if name is None:
                raise UnreadableError(NO_ID)
            if taken := [each for each in (TEXT, BEGIN, END) if each in kept]:
                raise UnreadableError(f"it has a field {taken[0]!r} already, which the passage's would replace")
        except UnreadableError as error:
            reject(line, str(error), json.dumps(row, default=repr))
            continue
        for passage in InPassages([document], cutter, fields.text):
            if isinstance(passage, BadRecord):
                reject(line, passage.error, json.dumps(row, default=repr))
                continue
            assert passage.passage is not None
            span = {BEGIN: passage.passage.begin, END: passage.passage.end}
            yield line, {**kept, name: passage.id, TEXT: passage.text, **span}


def passage_schema(schema: Any, fields: Fields) -> Any:
    """The columns of `passage_rows`.

    Raises:
        InputError: the documents have no id.
    """
    pa = require_pyarrow()
    name = fields.id_in(schema.names)
    if name is None:
        raise InputError(NO_ID)
    kept = [column for column in schema if column.name not in fields.text]
    return pa.schema(
        [
            *(pa.field(name, pa.string()) if column.name == name else column for column in kept),
            *((TEXT, pa.string()), (BEGIN, pa.int64()), (END, pa.int64())),
        ]
    )
