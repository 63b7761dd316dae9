"""The commands that need PyTorch: `spladert export` and `spladert verify`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from spladert import ExportError, SparseEncoder
from spladert.bundle import Manifest, open_bundle
from spladert.cli.group import SOME_LEFT_OUT
from spladert.cli.options import json_option, stderr_console, variant_option, write_json
from spladert.cli.terminal import stdout_console

from .checkpoint import load_checkpoint
from .pipeline import ExportReport, export
from .quality.fidelity import Fidelity
from .quality.verification import verify
from .variants import NAMES

INPUT = click.Path(exists=True, dir_okay=False, path_type=Path)
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command("export")
@click.argument("source")
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--revision", metavar="R", help="Branch, tag or commit of a hub id.")
@click.option(
    "--max-length",
    type=int,
    metavar="N",
    help="Most tokens of a text, special tokens included; default: sentence-transformers' max_seq_length, else 64.",
)
@click.option("--query-max-length", type=int, metavar="N", help="The same for queries; default: --max-length.")
@click.option("--document-max-length", type=int, metavar="N", help="The same for documents; default: --max-length.")
@click.option("--top-k", type=int, metavar="K", help="Most entries of a vector; default: what SOURCE says, else 256.")
@click.option(
    "--normalize",
    is_flag=True,
    help="Clean texts of what the tokenizer cannot read, emoji say; vectors differ from the checkpoint's own then.",
)
@click.option("--exclude-special-tokens", is_flag=True, help="Give special tokens weight 0.")
@click.option(
    "--variant",
    "--precision",
    "variants",
    multiple=True,
    default=["cpu-fp32"],
    show_default=True,
    type=click.Choice(NAMES),
    help="A variant to make; may be given several times. A precision means its usual target.",
)
@click.option(
    "--calibration", type=INPUT, help="Texts to calibrate on, one a line; default: lists in the tokenizer's languages."
)
@click.option(
    "--evaluate",
    type=FOLDER,
    metavar="FOLDER",
    help="A retrieval set in the BEIR layout; variants must keep 99.5% of fp32's nDCG@10 on it.",
)
@click.option("--allow-loss", is_flag=True, help="Keep a variant that loses more than it should.")
@click.option("--strict", is_flag=True, help="Write nothing where a variant is refused.")
@click.option("--overwrite", is_flag=True, help="Replace a bundle that is at OUT.")
@json_option
@click.pass_context
def export_command(ctx: click.Context, /, source: str, out: Path, json_path: Path | None, **options: Any) -> None:
    """Turn the checkpoint SOURCE (a hub id or a folder) into a bundle at OUT.

    The graph is compared with PyTorch before anything appears at OUT. A variant that loses too much is left out; the
    exit status is 3 then.
    """
    with _stages() as progress:
        report = export(source, out, progress=progress, **options)
    if not write_json({**asdict(report), "path": str(out)}, json_path):
        _print_summary(report, open_bundle(out).manifest)
    if report.refused:
        ctx.exit(SOME_LEFT_OUT)


@contextmanager
def _stages() -> Iterator[Callable[[str], None]]:
    """A line a stage with its time, on standard error; gives the function that begins a stage."""
    console = stderr_console()
    done = "*" if console.options.ascii_only else "✓"
    columns = SpinnerColumn(finished_text=done), TextColumn("{task.description}"), TimeElapsedColumn()
    with Progress(*columns, console=console) as bar:

        def finish() -> None:
            for task in bar.task_ids:
                bar.update(task, total=1, completed=1)

        def begin(stage: str) -> None:
            finish()
            bar.add_task(stage, total=None)

        yield begin
        finish()


def _print_summary(report: ExportReport, manifest: Manifest) -> None:
    table = Table(show_header=False, box=None)
    table.add_column()
    table.add_column(overflow="fold")  # of a path no letter is left out
    table.add_row("bundle", str(report.path))
    table.add_row("from", f"{manifest.source.id} ({manifest.source.architecture})")
    table.add_row("parameters", f"{manifest.source.parameters:,}")
    table.add_row("vocabulary", f"{manifest.vocabulary_size:,}")
    table.add_row("max_length", _lengths(report, manifest))
    table.add_row("top_k", f"{manifest.top_k:,}")
    for side, prompt in manifest.prompts.items():
        if prompt:
            table.add_row(f"{side} prompt", repr(prompt))
    if manifest.query_table is not None:
        table.add_row("queries", "are looked up in a table of weights")
    if report.calibration is not None:
        table.add_row("calibrated on", report.calibration)
    for variant in manifest.variants:
        size = sum(file.bytes for file in variant.files)
        fidelity = variant.fidelity
        table.add_row(
            variant.name,
            f"{size / 1e6:,.1f} MB, {variant.settings['nodes']:,} nodes; against PyTorch: largest weight error "
            f"{fidelity['max_weight_error']:.1e}, top-10 overlap {fidelity['top10_overlap']:.2%}"
            + (f", {fidelity['ndcg_kept']:.2%} of fp32's nDCG@10" if "ndcg_kept" in fidelity else ""),
        )
    for name, reason in report.refused.items():
        table.add_row(name, f"left out: {reason}")
    for warning in report.warnings:
        table.add_row("warning", warning)
    table.add_row("time", f"{sum(seconds for _, seconds in report.seconds):.1f} s")
    stdout_console().print(table)


def _lengths(report: ExportReport, manifest: Manifest) -> str:
    """The lengths of texts, and what the checkpoint could take."""
    sides = {"queries": manifest.query_max_length, "documents": manifest.document_max_length}
    said = [f"{length:,} for {side}" for side, length in sides.items() if length is not None]
    could = "no limit" if report.positions is None else f"{report.positions:,}"
    return f"{', '.join([f'{manifest.max_length:,}', *said])} (the checkpoint could take {could})"


@click.command("verify")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--against", required=True, metavar="SOURCE", help="The checkpoint, a hub id or a folder.")
@click.option("--texts", required=True, type=INPUT, help="A file, one text a line.")
@click.option("--revision", metavar="R", help="Branch, tag or commit of the checkpoint, where it is a hub id.")
@variant_option
@json_option
def verify_command(
    bundle: Path, against: str, texts: Path, revision: str | None, variant: str | None, json_path: Path | None
) -> None:
    """Measure BUNDLE against a checkpoint's PyTorch encode() on the lines of a file."""
    with SparseEncoder.load(bundle, variant=variant) as encoder:
        checkpoint = load_checkpoint(against, revision, encoder.manifest.max_length)
        try:
            lines = texts.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError as error:
            raise ExportError(f"{texts} is not UTF-8 ({error}); convert it first") from None
        name = encoder.variant.name
        with stderr_console().status(f"{len(lines):,} texts through PyTorch and {name}"):
            fidelity = verify(encoder, checkpoint, lines)
    content = {"variant": name, "source": encoder.manifest.source.id, **fidelity.to_dict()}
    if not write_json(content, json_path):
        _print_fidelity(name, fidelity)


def _print_fidelity(name: str, fidelity: Fidelity) -> None:
    table = Table("measure", name)
    table.add_row("texts", f"{fidelity.texts:,}")
    table.add_row("active dimensions a text", f"{fidelity.active_dimensions:.1f}")
    table.add_row("largest weight error", f"{fidelity.max_weight_error:.2e}")
    table.add_row("mean weight error", f"{fidelity.mean_weight_error:.2e}")
    table.add_row("top-10 overlap", f"{fidelity.top10_overlap:.4%}")
    table.add_row("texts with the same top 10", f"{fidelity.top10_same:.4%}")
    table.add_row("top-k overlap", f"{fidelity.top_k_overlap:.4%}")
    table.add_row("texts whose top 1 differs", f"{fidelity.top1_differs:.4%}")
    table.add_row("dot-product drift", f"{fidelity.dot_product_drift:.2e}")
    stdout_console().print(table)
