"""`spladert encode --engine ray`: a corpus through the workers of a cluster."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from ..cluster import ClusterJob, ClusterReport, Places
from ..cluster.parts import PART_BYTES
from ..counting import counted, counted_were
from ..files import Encoding, Fields
from ..passages import Passages
from ..stores import Connection, is_store_url, parse_store_url
from .options import Runtime, stderr_console, write_json

FORMATS = ("parquet", "jsonl")
FILES = (".parquet", ".jsonl")  # endings of their files


@dataclass(frozen=True)
class ClusterOptions:
    """What a cluster is asked besides.

    Attributes:
        workers: actors, None as many as there is room for.
        part_bytes: about as many bytes of the input make a part.
    """

    workers: int | None
    part_bytes: int


def cluster_options(command: Callable[..., None]) -> Callable[..., None]:
    """--engine, --workers and --part-size, given to `command` as one `cluster`; None is this process alone."""

    @functools.wraps(command)
    def with_cluster(engine: str, workers: int | None, part_size: int | None, **arguments: Any) -> None:
        if engine == "here" and (workers is not None or part_size is not None):
            raise click.UsageError("--workers and --part-size are for --engine ray: add that, or leave them out")
        part_bytes = PART_BYTES if part_size is None else part_size * 2**20
        cluster = ClusterOptions(workers, part_bytes) if engine == "ray" else None
        command(**arguments, cluster=cluster)

    options = [
        click.option(
            "--engine",
            type=click.Choice(["here", "ray"]),
            default="here",
            show_default=True,
            help="ray: the cluster of RAY_ADDRESS, or all of this machine.",
        ),
        click.option(
            "--workers", type=click.IntRange(min=1), metavar="N", help="Ray: actors, each of --threads. [default: all]"
        ),
        click.option(
            "--part-size",
            type=click.IntRange(min=1),
            metavar="MB",
            help=f"Ray: of what is done at once. [default: {PART_BYTES // 2**20}]",
        ),
    ]
    decorated: Callable[..., None] = with_cluster
    for option in reversed(options):
        decorated = option(decorated)
    return decorated


def encode_on_cluster(
    cluster: ClusterOptions,
    model: str | None,
    source: str,
    output: str,
    *,
    kind: str | None,
    format: str | None,
    fields: Fields,
    encoding: Encoding,
    passages: Passages | None,
    state: str | None,
    connection: Connection,
    overwrite: bool,
    runtime: Runtime,
    json_path: Path | None,
) -> int:
    """Run it, and say what it did; returns how many rows were left out.

    Raises:
        click.UsageError: the places or the format are none for a cluster.
        SpladertError: as `spladert.integrations.ray.encode_corpus`.
    """
    from ..integrations.ray import encode_corpus

    store = None
    if is_store_url(output) and not output.startswith(("s3://", "gs://", "hdfs://", "file://")):
        parse_store_url(output)
        if state is None:
            raise click.UsageError("--engine ray into a store needs --state FOLDER, which all workers reach")
        store, output = output, state
    if source == "-" or output == "-":
        raise click.UsageError("--engine ray reads and writes folders and files that all workers reach, no pipes")
    if fields.id is not None and store is None and passages is None:
        raise click.UsageError("--id-field is for a store, or --passages; a file has all columns under their names")
    if store is None and Path(output).suffix in FILES and not output.endswith("/"):
        raise click.UsageError(
            f"--engine ray writes a folder, and {output} is a file's name: take another, or {output}/"
        )
    if format not in (None, *FORMATS):
        raise click.UsageError(f"--engine ray writes {' or '.join(FORMATS)}, not {format}")
    job = ClusterJob(
        Places(_absolute(source), _absolute(output), store),
        bundle=None if model is None else _bundle(model),
        revision=runtime.revision,
        device=runtime.device,
        variant=runtime.variant,
        format="jsonl" if format == "jsonl" else "parquet",
        text=tuple(fields.text),
        id=fields.id,
        encoding=encoding,
        passages=passages,
    )
    started = time.perf_counter()
    with _progress(source) as advance:
        report = encode_corpus(
            job,
            workers=cluster.workers,
            threads=runtime.threads or 1,
            part_bytes=cluster.part_bytes,
            kind=kind,
            batch_size=runtime.batch_size,
            connection=connection,
            overwrite=overwrite,
            advance=advance,
        )
    if not write_json(asdict(report), json_path):
        _say(report, job, time.perf_counter() - started)
    return report.rejected


def _absolute(place: str) -> str:
    return place if "://" in place else str(Path(place).absolute())


def _bundle(model: str) -> str:
    return str(Path(model).absolute()) if Path(model).exists() else model


def _say(report: ClusterReport, job: ClusterJob, seconds: float) -> None:
    what = "row" if job.passages is None or job.places.store is not None else "passage"
    line = f"{counted(report.rows, what)}, {counted(report.tokens, 'token')}, {counted(report.parts, 'part')}"
    line += f", {seconds:.1f} s"
    if report.resumed == report.parts:
        line += "; it was whole already, and nothing was done"
    elif report.resumed:
        line += f"; {counted_were(report.resumed, 'part')} done by an interrupted run"
    if report.truncated:
        line += f"; {counted_were(report.truncated, 'text')} cut"
    if report.rejected:
        line += f"; {counted_were(report.rejected, 'row')} left out, see {job.output}/_errors"
    click.echo(line, err=True)
    for worker, rate in report.rates.items():
        click.echo(f"worker {worker}: {rate:,.0f} rows a second", err=True)
    if len(report.engines) > 1:
        click.echo(f"different engines ran, whose last digits differ: {'; '.join(report.engines)}", err=True)


@contextmanager
def _progress(name: str) -> Iterator[Callable[[int, int, int], None]]:
    """A bar over the parts, on standard error and only if that is a terminal."""
    console = stderr_console()
    if not console.is_terminal:
        yield lambda done, parts, rows: None
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,} of {task.total:,} parts, {task.fields[rows]:,} rows"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(name, total=1, rows=0)
        yield lambda done, parts, rows: bar.update(task, total=parts, completed=done, rows=rows)
