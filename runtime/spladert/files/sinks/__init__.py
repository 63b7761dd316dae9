"""The formats of an output: a row a format, with its sinks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import IO

from ...tokenizer import Side
from ..compression import require_compression
from ..parquet import require_pyarrow
from ..place import Place
from ..records import BadRecord
from .base import Sink, Vocabulary
from .feeds import bulk_lines, vespa_lines
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
        also: endings that it may have too if it is asked for by its name.
        sink: (place, vocabulary) -> the sink of a file or folder.
        stream: (stream, vocabulary, what to do with bad records) -> the sink of a stream; None if the file has to be
            whole before its first byte is known.
        holds_tokens: whether tokens can be written instead of their ids.
        needs_tokens: whether they always are.
        side: of a search that it is for, None for any.
        require: raises DependencyError where a package is missing.
    """

    endings: tuple[str, ...]
    about: str
    sink: Callable[[Place, Vocabulary], SpooledSink]
    stream: Callable[[IO[bytes], Vocabulary, Callable[[BadRecord], None]], Sink] | None = None
    holds_tokens: bool = True
    needs_tokens: bool = False
    side: Side | None = None
    also: tuple[str, ...] = ()
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
    "vespa": Format(
        (".vespa.jsonl",),
        "a feed for Vespa, docs/vespa.md",
        sink=partial(JsonlSink, lines=vespa_lines),
        stream=partial(JsonlStream, lines=vespa_lines),
        needs_tokens=True,
        side="document",
        also=(".jsonl", ".json"),
    ),
    "elasticsearch": Format(
        (".bulk.ndjson",),
        "bodies of _bulk for Elasticsearch, docs/elasticsearch.md",
        sink=partial(JsonlSink, lines=bulk_lines, lines_per_record=2),
        stream=partial(JsonlStream, lines=bulk_lines),
        needs_tokens=True,
        side="document",
        also=(".ndjson", ".json"),
    ),
}
