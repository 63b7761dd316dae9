"""`spladert encode`: texts of the command line, or of a file of any length."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..files import (
    BadRecord,
    Encoding,
    Fields,
    InputFile,
    Job,
    Record,
    RunOptions,
    Sink,
    Summary,
    encode_records,
    format_of,
    open_input,
    read_records,
)
from ..files.readers import INPUT_FORMATS
from ..files.sinks import FORMATS
from ..stores import Connection, Load, is_store_url
from .encoding import encoding_options
from .options import Runtime, connection_options, json_option, runtime_options, stderr_console, write_json
from .output import file_output, store_output
from .show import show_vectors, truncation

if TYPE_CHECKING:
    from ..encoder import SparseEncoder

PATIENCE = 0.005  # seconds that a line of a live stream waits for others to be encoded with it


def _listed(rows: Iterator[tuple[str, tuple[str, ...], str]]) -> str:
    return "; ".join(f"{name} ({', '.join(endings)}): {about}" for name, endings, about in rows)


INPUTS = _listed((name, row.endings, row.about) for name, row in INPUT_FORMATS.items())
OUTPUTS = _listed((name, row.endings, row.about) for name, row in FORMATS.items())
EPILOG = f"Inputs: {INPUTS}; each but parquet also compressed, .gz or .zst.\n\nOutputs: {OUTPUTS}."


@click.command("encode", epilog=EPILOG)
@click.argument("texts", nargs=-1, metavar="[TEXT]...")
@click.option("--model", metavar="BUNDLE", help="Bundle folder or hub id. [default: the one that comes with spladert]")
@click.option("--input", "input_path", metavar="FILE", help="Encode a file, of lines or rows; - is standard input.")
@click.option("--input-format", type=click.Choice(list(INPUT_FORMATS)), help="[default: by the file's ending]")
@click.option(
    "--field",
    "text_fields",
    multiple=True,
    default=("text",),
    show_default=True,
    metavar="NAME",
    help="The text's field or column; of several, the texts are joined by a space.",
)
@click.option(
    "--id-field", metavar="NAME", help="The id's. [default: _id, id or docid where there, else the line number]"
)
@click.option(
    "--output",
    default="-",
    metavar="WHERE",
    help="A file, whose ending is its format; a folder, or NAME/, for parts; a pipe or device; - is standard output; "
    "or a store, opensearch://HOST:PORT/INDEX?field=NAME. "
    "An interrupted run goes on where it stopped when called again. [default: -]",
)
@click.option(
    "--format",
    "output_format",
    type=click.Choice(list(FORMATS)),
    help="Of anything but a file. [default: jsonl, for a folder parquet]",
)
@click.option("--overwrite", is_flag=True, help="Replace an existing file, or a folder's parts.")
@click.option("--tokens", is_flag=True, help='Write tokens, not ids; in JSONL as {"id", "vector": {token: weight}}.')
@encoding_options
@click.option("--skip-errors", is_flag=True, help="Write bad lines to WHERE.errors.jsonl and go on.")
@click.option("--alias", metavar="NAME", help="Store: build a new index, and point NAME at it when it is whole.")
@click.option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Store: what is needed to go on after a stop. [default: spladert in the user's state directory]",
)
@json_option
@connection_options
@runtime_options
def encode_command(
    texts: tuple[str, ...],
    model: str | None,
    input_path: str | None,
    input_format: str | None,
    text_fields: tuple[str, ...],
    id_field: str | None,
    output: str,
    output_format: str | None,
    overwrite: bool,
    tokens: bool,
    encoding: Encoding,
    skip_errors: bool,
    alias: str | None,
    state: Path | None,
    json_path: Path | None,
    connection: Connection,
    runtime: Runtime,
) -> None:
    """Encode TEXTs, or the texts of a file, into sparse vectors.

    TEXTs are shown as a list on a terminal. All else gives vectors in the order of the input, heaviest entries first,
    as JSON lines or in the format that the output's name says.

    A file is read and written in constant memory. Until it is whole, the output is in the folder WHERE.partial (for
    parquet and npz this takes twice the output's disk space); after a stop of any kind, the same command goes on from
    there and ends in the same bytes.

    With --tokens, the keys fit OpenSearch's rank_features, but for tokens with a dot, which it does not take.
    """
    if bool(texts) == (input_path is not None):
        raise click.UsageError("give TEXTs, or a file with --input (- for standard input), one of them")
    if str(json_path) == output == "-":
        raise click.UsageError("the vectors and --json - both go to standard output: name a file for one of them")
    plain = output == "-" and output_format is None and not tokens and json_path is None
    if texts and plain and sys.stdout and sys.stdout.isatty():
        with runtime.load(model) as encoder:
            show_vectors(encoder, texts, encoding)
        return
    if is_store_url(output):
        if output_format is not None or tokens or overwrite:
            raise click.UsageError("--format, --tokens and --overwrite are for files: leave them out for a store")
        place = store_output(output, connection, Load(_input_name(input_path), state, alias))
    elif alias is not None or state is not None or connection != Connection():
        raise click.UsageError("--alias, --state and how to reach a store are for stores: leave them out for a file")
    else:
        place = file_output(output, output_format, tokens=tokens, overwrite=overwrite, source=input_path)
    with (
        _records(texts, input_path, input_format, Fields(text_fields, id_field)) as (records, source),
        runtime.load(model) as encoder,
        place.open(encoder) as sink,
    ):
        how = dataclasses.replace(encoding, side=encoding.side or place.side)
        job = Job.of(encoder, format=place.format, tokens=tokens, encoding=how)
        live = source is not None and source.live and place.live
        options = RunOptions(runtime.batch_size, skip_errors, patience=PATIENCE if live else None)
        facts = _encode(encoder, records, source, sink, job, options, place.skipped)
    write_json(facts, json_path)


@contextmanager
def _records(
    texts: tuple[str, ...], input_path: str | None, input_format: str | None, fields: Fields
) -> Iterator[tuple[Iterator[Record | BadRecord], InputFile | None]]:
    """The records of the command line's texts, or of a file, with that file."""
    if input_path is None:
        yield (Record(n, n, text, numbered=True) for n, text in enumerate(texts, start=1)), None
        return
    kind = input_format or format_of(input_path)
    with open_input(input_path) as source:
        yield read_records(source.stream, kind, fields), source


def _encode(
    encoder: SparseEncoder,
    records: Iterator[Record | BadRecord],
    source: InputFile | None,
    sink: Sink,
    job: Job,
    options: RunOptions,
    skipped: Path | str | None,
) -> dict[str, Any]:
    """Run the job, say what it did, and give that as facts."""
    started = time.perf_counter()
    try:
        if source is None:
            summary = encode_records(encoder, records, sink, job, options)
        else:
            with _progress(source) as advance:
                summary = encode_records(
                    encoder, records, sink, job, options, position=source.position, advance=advance
                )
    except KeyboardInterrupt:
        if sink.checkpoint is not None and sink.checkpoint.exists():
            click.echo(f"what is done is kept in {sink.checkpoint}: the same command goes on from there", err=True)
        raise
    seconds = time.perf_counter() - started
    if source is not None:
        _report(summary, seconds, encoder, skipped)
    elif summary.truncated:
        click.echo(truncation(summary.truncated, encoder), err=True)
    for sentence in sink.report:
        click.echo(sentence, err=True)
    how = {"seconds": seconds, "variant": encoder.variant.name, "device": encoder.device}
    return {**dataclasses.asdict(summary), **how, "report": list(sink.report)}


def _input_name(input_path: str | None) -> str:
    """What tells this input from others in the state of a job."""
    return str(Path(input_path).resolve()) if input_path not in (None, "-") else str(input_path)


def _report(summary: Summary, seconds: float, encoder: SparseEncoder, skipped: Path | str | None) -> None:
    done_now = summary.texts + summary.errors - summary.resumed
    line = f"{summary.texts:,} texts"
    if summary.resumed:
        line += f", {done_now:,} lines of them now and {summary.resumed:,} by an interrupted run"
    line += (
        f", {seconds:.1f} s ({done_now / max(seconds, 1e-9):,.0f} a second, {encoder.variant.name} on {encoder.device})"
    )
    if summary.truncated:
        line += f"; {truncation(summary.truncated, encoder)}"
    if summary.errors and skipped is not None:
        line += f"; {summary.errors:,} bad lines skipped, see {skipped}"
    if summary.damage is not None:
        line += f"; the input is not whole, {summary.damage}"
    click.echo(line, err=True)


@contextmanager
def _progress(source: InputFile) -> Iterator[Callable[[int, int], None]]:
    """A bar over the bytes of the input, on standard error and only if that is a terminal."""
    console = stderr_console()
    if not console.is_terminal:  # older rich writes an empty line even where its bar is switched off
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
