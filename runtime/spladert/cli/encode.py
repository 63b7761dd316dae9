"""`spladert encode`: texts of the command line, or of a file of any length."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click

from ..encoder import SparseEncoder
from ..files import (
    BadRecord,
    InputFile,
    Record,
    Settings,
    Summary,
    check_output,
    encode_to_file,
    encode_to_stream,
    errors_file,
    format_of,
    open_input,
    partial_folder,
    read_records,
)
from ..files.formats import OutputFormat, require_pyarrow
from ..files.records import InputFormat
from .options import Runtime, runtime_options, stderr_console

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

SHOWN = 15  # tokens of a text on a terminal
BAR_WIDTH = 24


@click.command("encode")
@click.argument("texts", nargs=-1, metavar="[TEXT]...")
@click.option("--model", metavar="BUNDLE", help="Bundle folder or hub id. [default: the one that comes with spladert]")
@click.option(
    "--input",
    "input_path",
    metavar="FILE",
    help="Encode a file: .txt (a text a line), .jsonl, .csv, each also with .gz; - is standard input.",
)
@click.option("--input-format", type=click.Choice(get_args(InputFormat)), help="[default: by the file's ending]")
@click.option("--field", default="text", show_default=True, metavar="NAME", help="The text's field (JSONL) or column.")
@click.option("--id-field", metavar="NAME", help="The id's. [default: _id or id where there, else the line number]")
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write here; an interrupted run goes on where it stopped when called again. [default: standard output]",
)
@click.option(
    "--format",
    "output_format",
    type=click.Choice(get_args(OutputFormat)),
    help="[default: by the output's ending, else jsonl]",
)
@click.option("--overwrite", is_flag=True, help="Replace an existing output.")
@click.option("--tokens", is_flag=True, help='Write tokens, not ids; in JSONL as {"id", "vector": {token: weight}}.')
@click.option("--top-k", type=click.IntRange(min=1), metavar="K", help="Keep the K heaviest entries. [default: all]")
@click.option("--skip-errors", is_flag=True, help="Write bad lines to FILE.errors.jsonl and go on.")
@runtime_options
def encode_command(
    texts: tuple[str, ...],
    model: str | None,
    input_path: str | None,
    input_format: InputFormat | None,
    field: str,
    id_field: str | None,
    output: Path | None,
    output_format: OutputFormat | None,
    overwrite: bool,
    tokens: bool,
    top_k: int | None,
    skip_errors: bool,
    runtime: Runtime,
) -> None:
    """Encode TEXTs, or the texts of a file, into sparse vectors.

    TEXTs are shown as a list on a terminal. All else gives a JSON line a text, {"id", "indices", "values"}, in the
    order of the input and heaviest entries first, or with --output a JSONL, parquet or npz file; npz is a CSR matrix
    for scipy.sparse.load_npz, with the ids in the array `ids`.

    A file is read and written in constant memory. Until it is whole, the output is in the folder FILE.partial (for
    parquet and npz this takes twice the output's disk space); after a stop of any kind, the same command goes on from
    there and ends in the same bytes.

    With --tokens, the keys fit OpenSearch's rank_features, but for tokens with a dot, which it does not take.
    """
    if bool(texts) == (input_path is not None):
        raise click.UsageError("give TEXTs, or a file with --input (- for standard input), one of them")
    if output is None and output_format in ("parquet", "npz"):
        raise click.UsageError(f"{output_format} needs --output FILE")
    chosen = output_format or _format_by_ending(output)
    if chosen == "npz" and tokens:
        raise click.UsageError("an npz holds ids only: leave --tokens out, or take jsonl or parquet")
    if (
        output is not None
        and input_path is not None
        and output.exists()
        and Path(input_path).exists()
        and output.samefile(input_path)
    ):
        raise click.UsageError("--input and --output are the same file")
    settings = Settings(
        output_format=chosen,
        batch_size=runtime.batch_size,
        top_k=top_k,
        tokens=tokens,
        skip_errors=skip_errors,
        overwrite=overwrite,
    )
    if output is not None:
        check_output(output, settings)
    if chosen == "parquet":
        require_pyarrow()

    def load() -> SparseEncoder:
        return runtime.load(model)

    if texts:
        if output is None and output_format is None and not tokens and sys.stdout.isatty():
            _show(load(), texts, top_k)
        else:
            records: Iterator[Record | BadRecord] = (Record(n, n, text) for n, text in enumerate(texts, start=1))
            encoder = load()
            if output is None:
                encode_to_stream(encoder, records, sys.stdout.buffer, settings, _report_skipped)
            else:
                encode_to_file(encoder, records, output, settings)
        return
    assert input_path is not None
    kind = input_format or format_of(input_path)
    with open_input(input_path) as source:
        encoder = load()
        _encode_file(
            encoder, source, read_records(source.stream, kind, field=field, id_field=id_field), output, settings
        )


def _format_by_ending(output: Path | None) -> OutputFormat:
    ending = output.suffix.lower() if output is not None else ""
    return "parquet" if ending == ".parquet" else "npz" if ending == ".npz" else "jsonl"


def _encode_file(
    encoder: SparseEncoder,
    source: InputFile,
    records: Iterator[Record | BadRecord],
    output: Path | None,
    settings: Settings,
) -> None:
    started = time.perf_counter()
    try:
        with _progress(source) as (progress, task):

            def advance(count: int) -> None:
                done = progress.tasks[task].fields["texts"] + count
                progress.update(task, completed=source.position(), texts=done)

            if output is None:
                summary = encode_to_stream(encoder, records, sys.stdout.buffer, settings, _report_skipped, advance)
            else:
                summary = encode_to_file(encoder, records, output, settings, advance)
    except KeyboardInterrupt:
        if output is not None and partial_folder(output).exists():
            click.echo(
                f"what is done is kept in {partial_folder(output)}: the same command goes on from there", err=True
            )
        raise
    _report(summary, time.perf_counter() - started, encoder, output)


def _report(summary: Summary, seconds: float, encoder: SparseEncoder, output: Path | None) -> None:
    done_now = summary.texts + summary.errors - summary.resumed
    line = f"{summary.texts:,} texts"
    if summary.resumed:
        line += f", {done_now:,} lines of them now and {summary.resumed:,} by an interrupted run"
    line += (
        f", {seconds:.1f} s ({done_now / max(seconds, 1e-9):,.0f} a second, {encoder.variant.name} on {encoder.device})"
    )
    if summary.errors:
        where = errors_file(output) if output is not None else "above"
        line += f"; {summary.errors:,} bad lines skipped, see {where}"
    click.echo(line, err=True)


def _report_skipped(record: BadRecord) -> None:
    click.echo(f"skipped line {record.line}: {record.error}", err=True)


@contextmanager
def _progress(source: InputFile) -> Iterator[tuple[Progress, TaskID]]:
    """A bar over the bytes of the input, on standard error and only if that is a terminal."""
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = stderr_console()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[texts]:,} texts"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        yield progress, progress.add_task(source.name, total=source.size, texts=0)


def _show(encoder: SparseEncoder, texts: Sequence[str], top_k: int | None) -> None:
    """Each text with its heaviest tokens and their weights, for reading."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    for position, (text, vector) in enumerate(zip(texts, encoder.encode(list(texts), top_k=top_k), strict=True)):
        shown = encoder.decode(vector, top_k=top_k or SHOWN)
        heaviest = max((weight for _, weight in shown), default=1.0)
        table = Table(box=None, show_header=False, pad_edge=False)
        for token, weight in shown:
            bar = "█" * max(round(BAR_WIDTH * weight / heaviest), 1)
            table.add_row(f"{weight:7.4f}", Text(bar, style="cyan"), Text(token))
        if position:
            console.print()
        console.print(Text(text, style="bold"), Text(f"{len(vector)} dimensions", style="dim"))
        console.print(table)
        if len(vector) > len(shown):
            console.print(Text(f"        and {len(vector) - len(shown)} lighter ones", style="dim"))
