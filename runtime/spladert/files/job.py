"""Encoding records into a file: chunk by chunk, in constant memory, and from where an interrupted run stopped.

While it runs, everything is in the folder `OUT.partial`; `OUT` appears whole at the end. The next run of the same job
goes on from the last chunk: it reads the records that are done once more, checks by a digest that they are still the
same, and cuts off what was written after the last recorded state. Chunks begin at the same records in every run, so
the output has the same bytes as that of a run that was never interrupted.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..encoder import SparseEncoder
from ..errors import InputError
from ..vectors import SparseVector, SparseVectors
from .formats import FORMATS, OutputFormat, jsonl_bytes, unique_names
from .records import BadRecord, Record
from .spool import Spool, State

CHUNK = 1024  # records encoded, written and recorded at a time,
CHUNK_CHARACTERS = 2**22  # fewer where they are longer than this together
ERRORS = "errors.jsonl"


@dataclass(frozen=True)
class Settings:
    """How to encode and write; only what changes the output must stay the same for a run to be resumed.

    Attributes:
        batch_size: the most texts of one run of the model; may change between runs.
        top_k: entries kept of each vector, None all.
        tokens: write tokens instead of their ids.
        skip_errors: go on after bad records instead of stopping at the first.
        overwrite: replace an existing output.
    """

    output_format: OutputFormat = "jsonl"
    batch_size: int = 32
    top_k: int | None = None
    tokens: bool = False
    skip_errors: bool = False
    overwrite: bool = False


@dataclass(frozen=True)
class Summary:
    """What a finished job did: texts encoded in all, bad records skipped, records that an earlier run had done."""

    texts: int
    errors: int
    resumed: int


def partial_folder(out: Path) -> Path:
    return out.with_name(f"{out.name}.partial")


def errors_file(out: Path) -> Path:
    return out.with_name(f"{out.name}.{ERRORS}")


def check_output(out: Path, settings: Settings) -> None:
    """Refuse, before any work is done, an output that could not be written.

    Raises:
        InputError: the folder is missing, or the output is there already.
    """
    if not out.parent.is_dir():
        raise InputError(f"{out.parent} is not a folder; create it first")
    if out.is_dir():
        raise InputError(f"{out} is a folder; name a file")
    if out.exists() and not settings.overwrite:
        raise InputError(f"{out} exists already; choose another name, or replace it with --overwrite")


def encode_to_file(
    encoder: SparseEncoder,
    records: Iterator[Record | BadRecord],
    out: Path,
    settings: Settings,
    advance: Callable[[int], None] = lambda _: None,
) -> Summary:
    """Encode records into `out`, or go on with it where an interrupted run of the same job stopped.

    Args:
        encoder: a loaded encoder.
        records: the whole input from its beginning, also when a run is resumed.
        out: the file to make; `OUT.errors.jsonl` beside it gets the bad records that were skipped.
        settings: how to encode and write.
        advance: called with the number of records after each chunk, for a progress display.

    Raises:
        InputError: the output exists; a record is bad and `skip_errors` is not set; or what an interrupted run left
            belongs to another input, model or settings.
    """
    check_output(out, settings)
    output_format = FORMATS[settings.output_format]
    names = token_names(encoder) if settings.tokens else None
    digest = _Digest()
    with Spool(partial_folder(out), [*output_format.files, ERRORS]) as spool:
        state = _start(spool, encoder, out, settings)
        resumed = state.records
        _skip_done(records, state, digest, spool.folder, advance)
        spool.restore(state.sizes)
        for chunk in read_chunks(records, settings.skip_errors):
            spool.append(output_format.spool(*encode_chunk(encoder, chunk, settings), names))
            if chunk.bad and not settings.skip_errors:
                raise bad_record_error(chunk.bad[0])
            spool.append({ERRORS: b"".join(map(_error_line, chunk.bad))})
            for record in chunk.all:
                digest.add(record)
            done, errors = state.records + len(chunk.all), state.errors + len(chunk.bad)
            state = State(state.job, done, digest.hex(), errors, spool.sizes())
            spool.save(state)
            advance(len(chunk.all))
        whole = output_format.assemble(spool.folder, names, encoder.manifest.vocabulary_size)
        if state.errors:
            shutil.copyfile(spool.folder / ERRORS, errors_file(out))
        elif settings.overwrite:
            errors_file(out).unlink(missing_ok=True)
        whole.replace(out)
        spool.remove()
    return Summary(texts=state.records - state.errors, errors=state.errors, resumed=resumed)


def encode_to_stream(
    encoder: SparseEncoder,
    records: Iterator[Record | BadRecord],
    stream: BinaryIO,
    settings: Settings,
    skipped: Callable[[BadRecord], None],
    advance: Callable[[int], None] = lambda _: None,
) -> Summary:
    """Encode records into a stream as JSONL, written and flushed after each chunk; nothing is there to resume.

    `skipped` is called with each bad record if `settings.skip_errors` is set.

    Raises:
        InputError: a record is bad and `skip_errors` is not set; the texts before it are written.
    """
    names = token_names(encoder) if settings.tokens else None
    texts = errors = 0
    for chunk in read_chunks(records, settings.skip_errors):
        stream.write(jsonl_bytes(*encode_chunk(encoder, chunk, settings), names))
        stream.flush()
        if chunk.bad and not settings.skip_errors:
            raise bad_record_error(chunk.bad[0])
        for record in chunk.bad:
            skipped(record)
        texts, errors = texts + len(chunk.good), errors + len(chunk.bad)
        advance(len(chunk.all))
    return Summary(texts, errors, resumed=0)


@dataclass
class Chunk:
    """Consecutive records; `all` holds the good and the bad ones in input order."""

    all: list[Record | BadRecord] = field(default_factory=list)
    good: list[Record] = field(default_factory=list)
    bad: list[BadRecord] = field(default_factory=list)


def read_chunks(records: Iterable[Record | BadRecord], skip_errors: bool) -> Iterator[Chunk]:
    """Chunks of at most `CHUNK` records; unless errors are skipped, one that meets a bad record ends with it.

    Where a chunk ends depends on its own records alone, so a run that begins at a chunk has the same ones from there.
    """
    chunk, characters = Chunk(), 0
    for record in records:
        chunk.all.append(record)
        if isinstance(record, Record):
            chunk.good.append(record)
            characters += len(record.text)
        else:
            chunk.bad.append(record)
        if len(chunk.all) == CHUNK or characters >= CHUNK_CHARACTERS or (chunk.bad and not skip_errors):
            yield chunk
            chunk, characters = Chunk(), 0
    if chunk.all:
        yield chunk


def encode_chunk(encoder: SparseEncoder, chunk: Chunk, settings: Settings) -> tuple[list[str | int], SparseVectors]:
    """(ids, vectors) of the chunk's good records."""
    texts = [record.text for record in chunk.good]
    vectors = encoder.encode(texts, batch_size=settings.batch_size, top_k=settings.top_k)
    return [record.id for record in chunk.good], vectors


def bad_record_error(record: BadRecord) -> InputError:
    return InputError(f"line {record.line}: {record.error} (--skip-errors goes on after such lines)")


def token_names(encoder: SparseEncoder) -> list[str]:
    """The vocabulary's tokens by id, made unique."""
    size = encoder.manifest.vocabulary_size
    everything = SparseVector(np.arange(size, dtype=np.int32), np.ones(size, np.float32))
    return unique_names([token for token, _ in encoder.decode(everything, top_k=None)])


def _start(spool: Spool, encoder: SparseEncoder, out: Path, settings: Settings) -> State:
    """The state to go on from: an earlier run's of the same job, else the beginning."""
    job = {
        "model": encoder.variant.files[0].sha256,
        "weights": [file.sha256 for file in encoder.variant.files[1:]],
        "tokenizer": encoder.manifest.tokenizer.sha256,
        "device": encoder.device,
        "top_k": settings.top_k,
        "format": settings.output_format,
        "tokens": settings.tokens,
    }
    saved = spool.saved()
    if saved is None:
        if errors_file(out).exists() and not settings.overwrite:
            raise InputError(f"{errors_file(out)} exists already; move it away, or replace it with --overwrite")
        return State(job, records=0, digest="", errors=0, sizes={})
    different = [name for name in job if saved.job.get(name) != job[name]]
    if saved.errors and not settings.skip_errors:
        different.append("skip-errors")
    if different:
        raise InputError(
            f"{spool.folder} is left of an interrupted run with a different {' and '.join(different)}: "
            "run with the same again to finish it, or delete that folder to start over"
        )
    return saved


def _skip_done(
    records: Iterator[Record | BadRecord], state: State, digest: _Digest, folder: Path, advance: Callable[[int], None]
) -> None:
    count = 0
    for record in islice(records, state.records):
        digest.add(record)
        count += 1
        if count % CHUNK == 0:
            advance(CHUNK)
    advance(count % CHUNK)
    if count < state.records or (count and digest.hex() != state.digest):
        raise InputError(
            f"the first {state.records} records are not those that {folder} was made from: "
            "give the same input again to finish it, or delete that folder to start over"
        )


class _Digest:
    """A running digest of records, of all that the output depends on."""

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=20)

    def add(self, record: Record | BadRecord) -> None:
        if isinstance(record, Record):
            self._hash.update(json.dumps([record.id, record.text]).encode())
        else:
            self._hash.update(_error_line(record))

    def hex(self) -> str:
        return self._hash.hexdigest()


def _error_line(record: BadRecord) -> bytes:
    """`{"line", "error", "raw"}`; bytes that are not UTF-8 become surrogate escapes, which can be undone."""
    raw = record.raw.decode("utf-8", "surrogateescape")
    value = {"line": record.line, "error": record.error, "raw": raw}
    line = json.dumps(value, ensure_ascii=not _is_unicode(record.raw))
    return line.encode("utf-8") + b"\n"


def _is_unicode(raw: bytes) -> bool:
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
