"""Cutting a corpus into parts: row groups of parquet files, byte ranges of files of lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from ..errors import InputError
from ..files.compression import ENDINGS
from ..files.parquet import require_pyarrow
from ..files.readers import format_of
from .place import Place

INPUTS = ("parquet", "jsonl", "text")
PART_BYTES = 64 * 2**20  # about, unless one asks for another size
NEWLINE_BYTES = 2**16  # read at a time where a line is looked for that crosses the end of a range


@dataclass(frozen=True)
class Part:
    """What one worker encodes at a time, and what is done again if it stops in the middle.

    Attributes:
        number: of the parts of the job, from 0.
        path: of the file, within the input's file system.
        kind: "parquet", "jsonl" or "text".
        start, stop: the row groups of a parquet file, or the bytes of another: of lines that begin in them.
            A compressed file is one part, and `stop` is its size.
        folder: of the file below the input, such as "year=2026/month=1"; the output has the same.
    """

    number: int
    path: str
    kind: str
    start: int
    stop: int
    folder: str = ""

    @property
    def name(self) -> str:
        """Its name, without an ending."""
        return f"part-{self.number:06}"

    @property
    def partition(self) -> Mapping[str, str]:
        """Columns that the folder's names say, as Hive writes them."""
        pairs = (name.partition("=") for name in self.folder.split("/") if "=" in name)
        return {key: unquote(value) for key, _, value in pairs}


def find_parts(source: Place, part_bytes: int, *, kind: str | None = None) -> list[Part]:
    """The parts of a file, or of all files below a folder whose names do not begin with `_` or a dot.

    Args:
        part_bytes: about as many bytes of a file make a part.
        kind: of the files, where their endings do not say.

    Raises:
        InputError: there is no file, or one of a kind that is not cut into parts.
    """
    found = source.below()
    if not found:
        raise InputError(f"{source} has no file: give a file, or a folder of parquet or JSON lines")
    parts: list[Part] = []
    for path, size in found:
        names = [] if path == source.path else path[len(source.path) :].strip("/").split("/")
        if any(name.startswith(("_", ".")) for name in names):
            continue
        file_kind = kind or format_of(path)
        if file_kind not in INPUTS:
            raise InputError(f"{path} is {file_kind}; on a cluster {', '.join(INPUTS)} are read")
        if file_kind == "parquet":
            ranges = _row_groups(source, path, part_bytes)
        elif path.lower().endswith(ENDINGS):
            ranges = [(0, size)]
        else:
            ranges = [(start, min(start + part_bytes, size)) for start in range(0, size, part_bytes)]
        for start, stop in ranges:
            parts.append(Part(len(parts), path, file_kind, start, stop, "/".join(names[:-1])))
    if not parts:
        raise InputError(f"{source} holds no rows: all its files are empty, or their names begin with _ or a dot")
    return parts


def _row_groups(source: Place, path: str, part_bytes: int) -> list[tuple[int, int]]:
    pyarrow = require_pyarrow()
    try:
        with source.files.open_input_file(path) as stream:
            metadata = pyarrow.parquet.read_metadata(stream)
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(f"{path} is not a whole parquet file: {error}") from None
    ranges, start, held = [], 0, 0
    for group in range(metadata.num_row_groups):
        size = metadata.row_group(group).total_byte_size
        if group > start and held + size > part_bytes:
            ranges.append((start, group))
            start, held = group, 0
        held += size
    return [*ranges, (start, metadata.num_row_groups)] if metadata.num_row_groups else []


def read_part(source: Place, part: Part) -> bytes:
    """The bytes of a part of a file of lines: whole lines, those that begin in its range; of a compressed file all.

    Raises:
        InputError: the file cannot be read, or is shorter than it was.
    """
    try:
        with source.files.open_input_file(part.path) as stream:
            size = stream.size()
            if size < part.stop:
                raise InputError(f"{part.path} has {size:,} bytes; it had more when the job was cut into parts")
            start = 0 if part.start == 0 else part.start + _to_next_line(stream, part.start)
            if start >= part.stop:
                return b""  # one line fills the range and more
            rest = _to_next_line(stream, part.stop) if part.stop < size else 0
            stream.seek(start)
            return bytes(stream.read(part.stop + rest - start))
    except OSError as error:
        raise InputError(f"{part.path} cannot be read: {error}") from None


def _to_next_line(stream: Any, position: int) -> int:
    """How many bytes there are from `position` to the beginning of the next line, 0 if one begins there."""
    stream.seek(position - 1)
    passed = 0
    for block in _blocks(stream):
        at = block.find(b"\n")
        if at >= 0:
            return int(passed + at)
        passed += len(block)
    return max(passed - 1, 0)


def _blocks(stream: Any) -> Iterator[bytes]:
    while block := stream.read(NEWLINE_BYTES):
        yield bytes(block)
