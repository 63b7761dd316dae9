"""The spool of parquet and npz, which cannot be appended to: their columns as plain arrays.

The files are made of it at the end in constant memory; that takes the disk space twice.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...vectors import SparseVectors
from ..records import Id, Record

IDS, LENGTHS, INDICES, VALUES = "ids.jsonl", "lengths.i64", "indices.i32", "values.f32"
BEGINS, ENDS = "begins.i64", "ends.i64"  # of passages; empty where documents are not cut
FILES = (IDS, LENGTHS, INDICES, VALUES, BEGINS, ENDS)
_KINDS = {LENGTHS: "i8", INDICES: "i4", VALUES: "f4", BEGINS: "i8", ENDS: "i8"}
_LIKE_AN_INTEGER = re.compile(r"-?[0-9]+\Z")


def spool_columns(records: Sequence[Record], vectors: SparseVectors) -> dict[str, bytes]:
    """The bytes to append to each file of the spool."""
    passages = [record.passage for record in records if record.passage is not None]
    return {
        IDS: "".join(f"{json.dumps(record.id, ensure_ascii=False)}\n" for record in records).encode("utf-8"),
        LENGTHS: np.diff(vectors.indptr).astype("<i8").tobytes(),
        INDICES: vectors.indices.astype("<i4").tobytes(),
        VALUES: vectors.values.astype("<f4").tobytes(),
        BEGINS: np.array([passage.begin for passage in passages], "<i8").tobytes(),
        ENDS: np.array([passage.end for passage in passages], "<i8").tobytes(),
    }


@dataclass(frozen=True)
class IdColumn:
    """What all ids of an output have in common.

    Attributes:
        integers: all are integers of 64 bits.
        mixed: some are integers and some are strings.
        longest: length of the longest one as `values` writes it, at least 1.
    """

    integers: bool
    mixed: bool
    longest: int

    @classmethod
    def of(cls, ids: Iterable[Id]) -> IdColumn:
        integers, kinds, plain, quoted = True, set(), 1, 1
        for value in ids:
            integers = integers and isinstance(value, int) and -(2**63) <= value < 2**63
            kinds.add(type(value))
            plain, quoted = max(plain, len(str(value))), max(quoted, len(_quoted(value)))
        return cls(integers, len(kinds) > 1, quoted if len(kinds) > 1 else plain)

    def values(self, ids: Sequence[Id]) -> Sequence[Id]:
        """The ids as the column holds them: as integers, or all as strings.

        Where there are integers and strings, a string that reads like an integer or begins with a quote is written as
        in JSON: the ids 1 and "1" are two.
        """
        if self.integers:
            return ids
        return [_quoted(value) if self.mixed else str(value) for value in ids]


def _quoted(value: Id) -> str:
    if isinstance(value, str) and (value.startswith('"') or _LIKE_AN_INTEGER.match(value)):
        return json.dumps(value, ensure_ascii=False)
    return str(value)


@dataclass(frozen=True)
class Part:
    """Rows that become one file, and the entries of their vectors in all."""

    rows: int
    entries: int


class Columns:
    """A spool of columns, read back from its beginning, each column at its own pace; a context manager.

    Attributes:
        ids: what all ids have in common.
        passages: whether rows are passages, with a begin and an end.
        parts: what becomes of each file, in order; one of no rows if there are none.
    """

    def __init__(self, folder: Path, rows_per_part: int | None, step: int) -> None:
        """
        Args:
            folder: of the spool.
            rows_per_part: rows of a file, None all.
            step: the most values to hold in memory.
        """
        with (folder / IDS).open(encoding="utf-8", newline="\n") as lines:
            self.ids = IdColumn.of(map(json.loads, lines))
        self._streams = {name: (folder / name).open("rb") for name in FILES}
        rows = (folder / LENGTHS).stat().st_size // 8
        self.passages = (folder / BEGINS).stat().st_size > 0
        size = rows_per_part or max(rows, 1)
        self.parts = [
            Part(count, sum(int(lengths.sum()) for lengths in self.read(LENGTHS, count, step)))
            for count in steps(rows, size)
        ] or [Part(0, 0)]
        self._streams[LENGTHS].seek(0)

    def __enter__(self) -> Columns:
        return self

    def __exit__(self, *_: object) -> None:
        for stream in self._streams.values():
            stream.close()

    def read(self, name: str, count: int, step: int) -> Iterator[NDArray[Any]]:
        """The next `count` values of LENGTHS, INDICES or VALUES, at most `step` at a time."""
        dtype = np.dtype(f"<{_KINDS[name]}")
        for size in steps(count, step):
            yield np.frombuffer(self._streams[name].read(dtype.itemsize * size), dtype)

    def read_ids(self, count: int, step: int) -> Iterator[Sequence[Id]]:
        """The next `count` ids, at most `step` at a time."""
        for size in steps(count, step):
            yield self.ids.values([json.loads(line) for line in islice(self._streams[IDS], size)])


def steps(count: int, step: int) -> Iterator[int]:
    """`count` in pieces of at most `step`."""
    while count > 0:
        yield min(count, step)
        count -= step
