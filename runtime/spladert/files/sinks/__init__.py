"""The formats of an output: a row a format, with its sinks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import IO

from ..compression import require_compression
from ..parquet import require_pyarrow
from ..place import Place
from ..records import BadRecord
from .base import Sink, Vocabulary
from .jsonl import JsonlSink, JsonlStream
from .npz import NpzSink
from .parquet import ParquetSink
from .spooled import SpooledSink

__all__ = ["FORMATS", "Format", "Sink", "SpooledSink", "Vocabulary"]


@dataclass(frozen=True)
class Format:
    """A format of an output.

    Attributes:
        endings: of its files' names; a part of a folder has the first.
        about: what it is, for a list of the formats.
        sink: (place, vocabulary) -> the sink of a file or folder.
        stream: (stream, vocabulary, what to do with bad records) -> the sink of a stream; None if the file has to be
            whole before its first byte is known.
        holds_tokens: whether tokens can be written instead of their ids.
        require: raises DependencyError where a package is missing.
    """

    endings: tuple[str, ...]
    about: str
    sink: Callable[[Place, Vocabulary], SpooledSink]
    stream: Callable[[IO[bytes], Vocabulary, Callable[[BadRecord], None]], Sink] | None = None
    holds_tokens: bool = True
    require: Callable[[], object] = lambda: None


FORMATS: dict[str, Format] = {
    "jsonl": Format(
        (".jsonl", ".ndjson"), 'JSON lines, {"id", "indices", "values"}', sink=JsonlSink, stream=JsonlStream
    ),
    "jsonl.gz": Format(
        (".jsonl.gz", ".ndjson.gz"),
        "the same, compressed",
        sink=partial(JsonlSink, compression=".gz"),
        stream=partial(JsonlStream, compression=".gz"),
    ),
    "jsonl.zst": Format(
        (".jsonl.zst", ".ndjson.zst"),
        "the same, compressed (with zstandard installed)",
        sink=partial(JsonlSink, compression=".zst"),
        stream=partial(JsonlStream, compression=".zst"),
        require=partial(require_compression, ".zst"),
    ),
    "parquet": Format(
        (".parquet",),
        "columns id, indices and values, the last two as lists",
        sink=ParquetSink,
        require=require_pyarrow,
    ),
    "npz": Format(
        (".npz",),
        "a CSR matrix for scipy.sparse.load_npz, with the ids in the array `ids`",
        sink=NpzSink,
        holds_tokens=False,
    ),
}
