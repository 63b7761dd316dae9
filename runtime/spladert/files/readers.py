"""Reading texts: a text a line, JSON lines, CSV or parquet, one record at a time.

What cannot be read is not raised but yielded as a `BadRecord` in its place, so that the caller decides what to do.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePath
from typing import IO, Any

from ..errors import InputError
from ..json_text import parse_json
from .compression import ENDINGS
from .lines import Line, read_lines, without_end
from .parquet import read_parquet
from .records import BadRecord, Fields, Record, UnreadableError, json_name

MAX_LINE_BYTES = 16 * 2**20  # a longer line is no record but a wrong file; it must not fill the memory

TEXT_FIELD = Fields()


@dataclass(frozen=True)
class InputFormat:
    """An input format.

    Attributes:
        endings: of its files' names.
        about: what it is, for a list of the formats.
        read: (stream, fields, most bytes of a line) -> the records.
    """

    endings: tuple[str, ...]
    about: str
    read: Callable[[IO[bytes], Fields, int], Iterator[Record | BadRecord]]


def read_records(
    stream: IO[bytes], input_format: str, fields: Fields = TEXT_FIELD, *, max_line_bytes: int = MAX_LINE_BYTES
) -> Iterator[Record | BadRecord]:
    """The records of a stream in order.

    Args:
        stream: UTF-8, with or without byte order marks; lines end in LF, CRLF or, where there is no LF, CR.
        input_format: a name of `INPUT_FORMATS`: "text" has a text a line, empty lines included; "jsonl" an object a
            line and "csv" a header and rows, blank lines between them skipped; "parquet" rows.
        fields: where a record's parts are ("text" has none).
        max_line_bytes: a longer line is a bad record.

    Raises:
        InputError: the stream is of another kind or encoding, or its header is unusable.
    """
    return INPUT_FORMATS[input_format].read(stream, fields, max_line_bytes)


def format_of(path: str) -> str:
    """The input format that a file's ending says, that of its compression aside; standard input, `-`, is text.

    Raises:
        InputError: the ending says nothing.
    """
    name = PurePath(path)
    if name.suffix.lower() in ENDINGS:
        name = name.with_suffix("")
    ending = name.suffix.lower()
    if not ending:
        return "text"
    for known, input_format in INPUT_FORMATS.items():
        if ending in input_format.endings:
            return known
    endings = ", ".join(ending for input_format in INPUT_FORMATS.values() for ending in input_format.endings)
    raise InputError(
        f"the ending {ending!r} of {path} says no format (known are {endings}); "
        f"name one with --input-format {'|'.join(INPUT_FORMATS)}"
    )


def _read_text(stream: IO[bytes], fields: Fields, max_line_bytes: int) -> Iterator[Record | BadRecord]:
    for line in read_lines(stream, max_line_bytes):
        try:
            yield Record(line.number, line.number, line.text(), size=len(line.raw), numbered=True)
        except UnreadableError as error:
            yield BadRecord(line.number, str(error), line.content, line.last)


def _read_jsonl(stream: IO[bytes], fields: Fields, max_line_bytes: int) -> Iterator[Record | BadRecord]:
    for line in read_lines(stream, max_line_bytes):
        if line.problem is None and not line.raw.strip():
            continue
        try:
            yield fields.record(line.number, json_object(line), len(line.raw))
        except UnreadableError as error:
            yield BadRecord(line.number, str(error), line.content, line.last)


def json_object(line: Line) -> dict[str, Any]:
    """The object of a line of JSON.

    Raises:
        UnreadableError: why there is none.
    """
    text = line.text()
    try:
        value = parse_json(text)
    except ValueError as error:
        raise UnreadableError(f"not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise UnreadableError(f"a JSON {json_name(value)} instead of an object")
    return value


def _read_csv(stream: IO[bytes], fields: Fields, max_line_bytes: int) -> Iterator[Record | BadRecord]:
    taken: list[Line] = []  # the physical lines of the record being read

    def feed() -> Iterator[str]:
        for line in read_lines(stream, max_line_bytes):
            taken.append(line)
            yield line.raw.decode("utf-8", "surrogateescape")  # checked below, so that quotes stay in step

    csv.field_size_limit(max_line_bytes)  # the module's own limit is 131,072 characters
    rows = csv.reader(feed(), strict=True)
    header: list[str] | None = None
    while True:
        taken.clear()
        try:
            row = next(rows, None)
            if row is None:
                return
            size = sum(len(line.text()) for line in taken)
            if not row:
                continue
            if header is None:
                header = _csv_header(row, fields)
                continue
            if len(row) != len(header):
                raise UnreadableError(f"{len(row)} columns where the header has {len(header)}")
            yield fields.record(taken[0].number, dict(zip(header, row, strict=True)), size)
        except (csv.Error, UnreadableError) as error:
            problem = next((line.problem for line in taken if line.problem is not None), None)
            problem = problem or (f"not valid CSV: {error}" if isinstance(error, csv.Error) else str(error))
            if header is None:
                raise InputError(f"line {taken[0].number}: the CSV header cannot be read: {problem}") from None
            raw = without_end(b"".join(line.raw for line in taken))
            yield BadRecord(taken[0].number, problem, raw, taken[-1].last)


def _csv_header(row: list[str], fields: Fields) -> list[str]:
    for name in (*fields.text, fields.id):
        if name is not None and row.count(name) != 1:
            problem = "has no column" if name not in row else "has more than one column"
            raise InputError(f"the CSV header {problem} {name!r}; it has: {', '.join(map(repr, row))[:200]}")
    return row


def _read_parquet(stream: IO[bytes], fields: Fields, max_line_bytes: int) -> Iterator[Record | BadRecord]:
    return read_parquet(stream, fields)


INPUT_FORMATS: dict[str, InputFormat] = {
    "text": InputFormat((".txt", ".text"), "a text a line", _read_text),
    "jsonl": InputFormat((".jsonl", ".ndjson"), "a JSON object a line", _read_jsonl),
    "csv": InputFormat((".csv",), "a header, then rows", _read_csv),
    "parquet": InputFormat((".parquet",), "rows", _read_parquet),
}
