"""Reading texts: a text a line, JSON lines or CSV, plain or gzipped, one record at a time.

What cannot be read is not raised but yielded as a `BadRecord` in its place, so that the caller decides what to do.
"""

from __future__ import annotations

import csv
import gzip
import json
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import IO, Any, BinaryIO, Literal, cast, get_args

from ..errors import InputError

InputFormat = Literal["text", "jsonl", "csv"]
ENDINGS: dict[str, InputFormat] = {
    "": "text",
    ".txt": "text",
    ".text": "text",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
}
DEFAULT_ID_FIELDS = ("_id", "id")
MAX_LINE_BYTES = 16 * 2**20  # a longer line is no record but a wrong file; it must not fill the memory
MAX_ID_BYTES = 512  # what OpenSearch takes as a document id


@dataclass(frozen=True, slots=True)
class Record:
    """A text to encode.

    Attributes:
        line: number of the line it begins on, the first is 1.
        id: the input's own, else the line number.
        text: valid Unicode, maybe empty.
    """

    line: int
    id: str | int
    text: str


@dataclass(frozen=True, slots=True)
class BadRecord:
    """A record that cannot be read: the line it begins on, why, and its bytes without the line end."""

    line: int
    error: str
    raw: bytes


@dataclass(frozen=True, slots=True)
class InputFile:
    """An opened input: the stream to read, and the file below it, whose position tells the progress.

    Attributes:
        size: bytes of the file as stored, None where it is not known (a pipe).
    """

    name: str
    stream: IO[bytes]
    stored: BinaryIO
    size: int | None

    def position(self) -> int:
        """Bytes of the stored file read so far; 0 where `size` is None."""
        return self.stored.tell() if self.size is not None else 0


@contextmanager
def open_input(path: str) -> Iterator[InputFile]:
    """Open a file, gunzipping `.gz`; `-` is standard input.

    Raises:
        InputError: the file is missing or unreadable, or (while reading) its compressed data is damaged.
    """
    if path == "-":
        yield InputFile("standard input", sys.stdin.buffer, sys.stdin.buffer, None)
        return
    try:
        stored = Path(path).open("rb")  # noqa: SIM115 - closed below
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    with stored:
        size = Path(path).stat().st_size if stored.seekable() else None
        if not path.endswith(".gz"):
            yield InputFile(path, stored, stored, size)
            return
        try:
            with gzip.GzipFile(fileobj=stored, mode="rb") as stream:
                yield InputFile(path, cast("IO[bytes]", stream), stored, size)
        except (gzip.BadGzipFile, zlib.error, EOFError) as error:
            raise InputError(f"{path} is not a whole gzip file: {error}") from None


def format_of(path: str) -> InputFormat:
    """The input format that a file's ending says, `.gz` aside.

    Raises:
        InputError: the ending says nothing.
    """
    name = PurePath(path).name.removesuffix(".gz") if path != "-" else ""
    ending = PurePath(name).suffix.lower()
    if ending not in ENDINGS:
        known = ", ".join(ending for ending in ENDINGS if ending)
        raise InputError(
            f"the ending {ending!r} of {path} says no format (known are {known}); "
            f"name one with --input-format {'|'.join(get_args(InputFormat))}"
        )
    return ENDINGS[ending]


def read_records(
    stream: IO[bytes], input_format: InputFormat, *, field: str = "text", id_field: str | None = None
) -> Iterator[Record | BadRecord]:
    """The records of a stream in order.

    Args:
        stream: UTF-8, with or without a byte order mark; lines end in LF or CRLF.
        input_format: "text" has a text a line, empty lines included; "jsonl" an object a line and "csv" a header and
            rows, blank lines between them skipped.
        field: name of the text's field or column ("text" has none).
        id_field: name of the id's field or column; None takes `_id`, else `id`, else the line number.

    Raises:
        InputError: the CSV header is unusable.
    """
    lines = _lines(stream)
    if input_format == "text":
        return map(_text_record, lines)
    if input_format == "jsonl":
        return (_json_record(line, field, id_field) for line in lines if line.raw.strip())
    return _csv_records(lines, field, id_field)


@dataclass(frozen=True, slots=True)
class _Line:
    """`raw` has its line end; of a line that is too long it is only the beginning."""

    number: int
    raw: bytes
    too_long: bool


class _UnreadableError(Exception):
    """Why a record is bad."""


def _lines(stream: IO[bytes]) -> Iterator[_Line]:
    number = 0
    while raw := stream.readline(MAX_LINE_BYTES + 1):
        number += 1
        too_long = len(raw) > MAX_LINE_BYTES
        rest = raw
        while too_long and rest and not rest.endswith(b"\n"):
            rest = stream.readline(MAX_LINE_BYTES)
        if number == 1:
            raw = raw.removeprefix(b"\xef\xbb\xbf")
        yield _Line(number, raw[:1000] if too_long else raw, too_long)


def _without_end(raw: bytes) -> bytes:
    return raw.removesuffix(b"\n").removesuffix(b"\r")


def _text_record(line: _Line) -> Record | BadRecord:
    try:
        return Record(line.number, line.number, _decoded(line))
    except _UnreadableError as error:
        return BadRecord(line.number, str(error), _without_end(line.raw))


def _json_record(line: _Line, field: str, id_field: str | None) -> Record | BadRecord:
    try:
        try:
            value = json.loads(_decoded(line))
        except (ValueError, RecursionError) as error:
            raise _UnreadableError(f"not valid JSON: {error}") from None
        if not isinstance(value, dict):
            raise _UnreadableError(f"a JSON {_JSON_NAMES[type(value)]} instead of an object")
        return _record(line.number, value, field, id_field)
    except _UnreadableError as error:
        return BadRecord(line.number, str(error), _without_end(line.raw))


def _csv_records(lines: Iterator[_Line], field: str, id_field: str | None) -> Iterator[Record | BadRecord]:
    taken: list[_Line] = []  # the physical lines of the record being read

    def feed() -> Iterator[str]:
        for line in lines:
            taken.append(line)
            yield line.raw.decode("utf-8", "surrogateescape")  # checked below, so that quotes stay in step

    csv.field_size_limit(MAX_LINE_BYTES)  # the module's own limit is 131,072 characters
    reader = csv.reader(feed(), strict=True)
    header: list[str] | None = None
    while True:
        taken.clear()
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if header is None:
                raise InputError(f"line {taken[0].number}: the CSV header cannot be read: {error}") from None
            yield BadRecord(taken[0].number, f"not valid CSV: {error}", _raw(taken))
            continue
        if not row:
            continue
        if header is None:
            header = _csv_header(row, field, id_field)
            continue
        try:
            for line in taken:
                _decoded(line)
            if len(row) != len(header):
                raise _UnreadableError(f"{len(row)} columns where the header has {len(header)}")
            yield _record(taken[0].number, dict(zip(header, row, strict=True)), field, id_field)
        except _UnreadableError as error:
            yield BadRecord(taken[0].number, str(error), _raw(taken))


def _raw(lines: list[_Line]) -> bytes:
    return _without_end(b"".join(line.raw for line in lines))


def _csv_header(row: list[str], field: str, id_field: str | None) -> list[str]:
    for name in (field, id_field):
        if name is not None and row.count(name) != 1:
            problem = "has no column" if name not in row else "has more than one column"
            raise InputError(f"the CSV header {problem} {name!r}; it has: {', '.join(map(repr, row))[:200]}")
    return row


def _record(line: int, value: dict[str, Any], field: str, id_field: str | None) -> Record:
    if field not in value:
        raise _UnreadableError(f"no field {field!r}; it has: {', '.join(map(repr, value))[:200] or 'none'}")
    text = value[field]
    if not isinstance(text, str):
        raise _UnreadableError(f"field {field!r} holds a {_JSON_NAMES[type(text)]} instead of a string")
    _check_unicode(text, f"field {field!r}")
    if id_field is None:
        name = next((name for name in DEFAULT_ID_FIELDS if name in value and name != field), None)
        return Record(line, _checked_id(value[name], name) if name is not None else line, text)
    if id_field not in value:
        raise _UnreadableError(f"no id field {id_field!r}")
    return Record(line, _checked_id(value[id_field], id_field), text)


def _checked_id(value: object, name: str) -> str | int:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise _UnreadableError(
            f"id field {name!r} holds a {_JSON_NAMES[type(value)]} instead of a string or an integer"
        )
    if isinstance(value, str):
        _check_unicode(value, f"id field {name!r}")
    if len(str(value).encode()) > MAX_ID_BYTES or "\0" in str(value):
        raise _UnreadableError(f"id field {name!r} is longer than {MAX_ID_BYTES} bytes or has a NUL character")
    return value


def _decoded(line: _Line) -> str:
    if line.too_long:
        raise _UnreadableError(_TOO_LONG)
    try:
        return _without_end(line.raw).decode("utf-8")
    except UnicodeDecodeError as error:
        raise _UnreadableError(
            f"not valid UTF-8 at byte {error.start} of the line (is it CP949? iconv -f CP949 -t UTF-8 converts)"
        ) from None


def _check_unicode(text: str, where: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        code = ord(text[error.start])
        raise _UnreadableError(f"{where} has a lone surrogate (U+{code:04X}) at character {error.start}") from None


_TOO_LONG = f"longer than {MAX_LINE_BYTES // 2**20} MiB"
_JSON_NAMES: dict[type, str] = {
    dict: "object",
    list: "list",
    str: "string",
    int: "number",
    float: "number",
    bool: "boolean",
    type(None): "null",
}
