"""`spladert encode`: texts of the command line, or of a file of any length."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from ..files import Encoding, Fields, Job, RunOptions
from ..files.readers import INPUT_FORMATS
from ..files.sinks import FORMATS
from ..passages import Passages
from ..stores import Connection, Load, is_store_url
from .cluster import ClusterOptions, cluster_options, encode_on_cluster
from .encoding import encoding_options
from .input import input_name, input_options, open_records, passage_options
from .job import end_job, run_job
from .options import Runtime, connection_options, json_option, runtime_options, write_json
from .output import file_output, store_output
from .show import show_vectors

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
@input_options
@click.option(
    "--output",
    default="-",
    metavar="WHERE",
    help="A file, whose ending is its format; a folder, or NAME/, for parts; a pipe or device; - is standard output; "
    "or a store, opensearch://HOST:PORT/INDEX?field=NAME, qdrant://, milvus:// or postgresql://. "
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
@passage_options
@encoding_options
@click.option("--skip-errors", is_flag=True, help="Go on after bad lines, which are kept aside.")
@click.option("--alias", metavar="NAME", help="Store: build a new index, and point NAME at it when it is whole.")
@click.option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Store: what is needed to go on after a stop. [default: spladert in the user's state directory]",
)
@cluster_options
@json_option
@connection_options
@runtime_options
def encode_command(
    texts: tuple[str, ...],
    model: str | None,
    input_path: str | None,
    input_format: str | None,
    fields: Fields,
    output: str,
    output_format: str | None,
    overwrite: bool,
    tokens: bool,
    passages: Passages | None,
    encoding: Encoding,
    skip_errors: bool,
    alias: str | None,
    state: Path | None,
    cluster: ClusterOptions | None,
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

    What cannot be taken is kept aside in a file that the report names. A bad line ends the run all the same, unless
    --skip-errors is given; a document that the output does not take does not, but without --skip-errors the exit status
    is 3 then.

    With --tokens, the keys fit OpenSearch's rank_features, but for tokens with a dot, which it does not take.
    """
    if bool(texts) == (input_path is not None):
        raise click.UsageError("give TEXTs, or a file with --input (- for standard input), one of them")
    if cluster is not None:
        if input_path is None or tokens or alias is not None:
            raise click.UsageError("--engine ray takes --input, and neither --tokens nor --alias")
        left_out = encode_on_cluster(
            cluster,
            model,
            input_path,
            output,
            kind=input_format,
            format=output_format,
            fields=fields,
            encoding=encoding,
            passages=passages,
            state=None if state is None else str(state),
            connection=connection,
            overwrite=overwrite,
            runtime=runtime,
            json_path=json_path,
        )
        end_job(left_out, skip_errors=skip_errors)
        return
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
        place = store_output(output, connection, Load(input_name(input_path), state, alias))
    elif alias is not None or state is not None or connection != Connection():
        raise click.UsageError("--alias, --state and how to reach a store are for stores: leave them out for a file")
    else:
        place = file_output(output, output_format, tokens=tokens, overwrite=overwrite, source=input_path)
    with (
        open_records(texts, input_path, input_format, fields) as (records, source),
        runtime.load(model) as encoder,
        place.open(encoder) as sink,
    ):
        how = dataclasses.replace(encoding, side=encoding.side or place.side)
        job = Job.of(encoder, format=place.format, tokens=tokens, encoding=how, passages=passages)
        live = source is not None and source.live and place.live
        options = RunOptions(runtime.batch_size, skip_errors, patience=PATIENCE if live else None)
        facts = run_job(encoder, records, source, sink, job, options, fields=fields, skipped=place.skipped)
    write_json(facts, json_path)
    end_job(facts["refused"], skip_errors=skip_errors)
