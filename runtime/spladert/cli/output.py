"""Where `encode` writes, as it was asked: a file, a folder, a stream, or a store."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..files import BadRecord, Destination, Sink, Vocabulary
from ..files.sinks import FORMATS
from ..stores import Connection, Load, open_sink, parse_store_url

if TYPE_CHECKING:
    from ..encoder import SparseEncoder
    from ..tokenizer import Side


@dataclass(frozen=True)
class Output:
    """An output that can be opened once the encoder is there.

    Attributes:
        format: its name.
        open: the encoder -> the sink.
        live: whether what is written is read at once.
        skipped: where bad lines are; None if the sink's report says so.
        side: which side of a search it holds, None if that is not known.
    """

    format: str
    open: Callable[[SparseEncoder], AbstractContextManager[Sink]]
    live: bool = False
    skipped: Path | str | None = None
    side: Side | None = None


def file_output(where: str, format: str | None, *, tokens: bool, overwrite: bool, source: str | None) -> Output:
    """A file, a folder or a stream, checked against `source`, the input's file.

    Raises:
        click.UsageError: the format does not hold tokens, or the input would be replaced.
        InputError: it cannot be written, or is there already.
        DependencyError: a package that the format needs is missing.
    """
    destination = Destination.of(where, format, overwrite=overwrite)
    made = FORMATS[destination.format]
    if tokens and not made.holds_tokens:
        raise click.UsageError(f"an {destination.format} holds ids only: leave --tokens out, or take another format")
    if source is not None and destination.replaces(source):
        raise click.UsageError("--input and --output are the same file")
    made.require()
    return Output(
        destination.format,
        lambda encoder: destination.open(Vocabulary.of(encoder, tokens=tokens or made.needs_tokens), _report_skipped),
        live=destination.place is None,
        skipped=destination.place.errors if destination.place is not None else "above",
        side=made.side,
    )


def store_output(url: str, connection: Connection, load: Load) -> Output:
    """A store.

    Raises:
        InputError: the URL cannot be taken.
    """
    store = parse_store_url(url)
    return Output(
        store.scheme,
        lambda encoder: open_sink(store, connection, encoder, load, _report_waiting),
        side="document",
    )


def _report_skipped(record: BadRecord) -> None:
    click.echo(f"skipped line {record.line}: {record.error}", err=True)


def _report_waiting(reason: str) -> None:
    click.echo(f"waiting, then trying again: {reason}", err=True)
