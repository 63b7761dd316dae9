"""Running a job of `spladert encode` and `spladert index`, and saying how far it is and what it did."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..counting import counted
from ..files import BadRecord, Encoding, Fields, InputFile, Job, Record, RunOptions, Sink, Summary, encode_records
from ..files.passages import InPassages
from ..passages import PassageCutter
from .group import SOME_LEFT_OUT
from .options import stderr_console
from .show import truncation

if TYPE_CHECKING:
    from ..encoder import SparseEncoder


def run_job(
    encoder: SparseEncoder,
    records: Iterator[Record | BadRecord],
    source: InputFile | None,
    sink: Sink,
    job: Job,
    options: RunOptions,
    *,
    fields: Fields,
    skipped: Path | str | None,
) -> dict[str, Any]:
    """Run the job, say what it did, and give that as facts.

    Args:
        records: whole documents, which are cut if the job says so.
        source: the file that they are from, None if there is none.
        fields: where their parts are.
        skipped: where bad lines are; None if the sink's report says so.
    """
    started = time.perf_counter()
    passages = _in_passages(encoder, records, job, fields)
    try:
        with _progress(source) as advance:
            summary = encode_records(
                encoder,
                records if passages is None else iter(passages),
                sink,
                job,
                options,
                position=(lambda: 0) if source is None else source.position,
                advance=advance,
            )
    except KeyboardInterrupt:
        if sink.checkpoint is not None and sink.checkpoint.exists():
            click.echo(f"what is done is kept in {sink.checkpoint}: the same command goes on from there", err=True)
        raise
    seconds = time.perf_counter() - started
    if source is not None:
        _report(summary, passages, seconds, encoder, job.encoding, skipped)
    elif summary.truncated:
        click.echo(truncation(summary.truncated, encoder, job.encoding, summary.unread), err=True)
    for sentence in sink.report:
        click.echo(sentence, err=True)
    how = {"seconds": seconds, "variant": encoder.variant.name, "device": encoder.device}
    cut = {} if passages is None else {"documents": passages.documents, "limited": passages.limited}
    return {**dataclasses.asdict(summary), **cut, **how, "report": list(sink.report)}


def end_job(left_out: int, *, skip_errors: bool) -> None:
    """End the command by exit status 3 where documents were left out that nobody said to skip."""
    if left_out and not skip_errors:
        click.get_current_context().exit(SOME_LEFT_OUT)


def _in_passages(
    encoder: SparseEncoder, records: Iterable[Record | BadRecord], job: Job, fields: Fields
) -> InPassages | None:
    if job.passages is None:
        return None
    room = encoder.tokenizer.room(job.encoding.side, job.encoding.max_length)
    return InPassages(records, PassageCutter(encoder.tokenizer, job.passages, room), fields.text)


def _report(
    summary: Summary,
    passages: InPassages | None,
    seconds: float,
    encoder: SparseEncoder,
    encoding: Encoding,
    skipped: Path | str | None,
) -> None:
    done_now = summary.texts + summary.errors - summary.resumed
    line = counted(summary.texts, "text")
    if passages is not None:
        line = f"{counted(summary.texts, 'passage')} of {counted(passages.documents, 'document')}"
        if passages.limited:
            line += f", {passages.limited:,} of them read only as far as --max-passages"
    if summary.resumed:
        line += f", {counted(done_now, 'line')} of them now and {summary.resumed:,} by an interrupted run"
    line += (
        f", {seconds:.1f} s ({done_now / max(seconds, 1e-9):,.0f} a second, {encoder.variant.name} on {encoder.device})"
    )
    if summary.truncated:
        line += f"; {truncation(summary.truncated, encoder, encoding, summary.unread)}"
    if summary.errors and skipped is not None:
        line += f"; {counted(summary.errors, 'bad line')} skipped, see {skipped}"
    if summary.damage is not None:
        line += f"; the input is not whole, {summary.damage}"
    click.echo(line, err=True)


@contextmanager
def _progress(source: InputFile | None) -> Iterator[Callable[[int, int], None]]:
    """A bar over the bytes of an input's file, on standard error and only if that is a terminal."""
    console = stderr_console()
    if source is None or not console.is_terminal:  # older rich writes an empty line even where its bar is switched off
        yield lambda records, position: None
        return
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[texts]:,} texts"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(source.name, total=source.size, texts=0)
        yield lambda records, position: bar.update(task, completed=position, texts=records)
