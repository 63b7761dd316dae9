"""`spladert index`: documents into a folder that `spladert search` asks, without a server."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from ..files import Encoding, Fields, Job, RunOptions
from ..passages import Passages
from ..stores import is_store_url
from .encoding import encoding_options
from .input import input_name, input_options, open_records, passage_options
from .job import end_job, run_job
from .options import Runtime, json_option, runtime_options, write_json


@click.command("index")
@click.argument("source", metavar="INPUT")
@click.argument("folder")
@click.option(
    "--model", metavar="BUNDLE", help="Bundle folder or hub id. [default: what made the index, else spladert's]"
)
@input_options
@passage_options
@encoding_options
@click.option("--skip-errors", is_flag=True, help="Go on after bad lines, which are kept in FOLDER/jobs.")
@json_option
@runtime_options
def index_command(
    source: str,
    folder: str,
    model: str | None,
    input_format: str | None,
    fields: Fields,
    passages: Passages | None,
    encoding: Encoding,
    skip_errors: bool,
    json_path: Path | None,
    runtime: Runtime,
) -> None:
    """Index the documents of INPUT, a file as `encode --input` takes it, in FOLDER, for `spladert search`.

    A FOLDER that is not there is made; one that is there gets the documents in addition, in the place of those with the
    same ids. After a stop of any kind it is whole, and the same command goes on where it stopped. A document that the
    index does not take is kept in FOLDER/jobs, and without --skip-errors the exit status is 3 then.
    """
    from ..index import indexed_by, open_index_sink

    if is_store_url(folder):
        raise click.UsageError(f"{folder} is a store, and this makes an index in a folder: encode --output {folder}")
    if not folder:
        raise click.UsageError("the folder of the index has no name; give one")
    with (
        open_records((), source, input_format, fields) as (records, file),
        runtime.load_maker(model, indexed_by(Path(folder))) as encoder,
        open_index_sink(Path(folder), encoder, input_name(source)) as sink,
    ):
        how = dataclasses.replace(encoding, side=encoding.side or "document")
        job = Job.of(encoder, format="index", encoding=how, passages=passages)
        options = RunOptions(runtime.batch_size, skip_errors)
        facts = run_job(encoder, records, file, sink, job, options, fields=fields, skipped=None)
    write_json(facts, json_path)
    end_job(facts["refused"], skip_errors=skip_errors)
