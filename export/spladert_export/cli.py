"""The commands that need PyTorch: `spladert export` and `spladert verify`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from spladert import ExportError, SparseEncoder
from spladert.bundle import Manifest, open_bundle

from .checkpoint import load_checkpoint
from .pipeline import CALIBRATION, PRECISIONS, export
from .quality.fidelity import Fidelity
from .quality.verification import verify

ERR = Console(stderr=True)
INPUT = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("export")
@click.argument("source")
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--revision", help="Branch, tag or commit of a hub id.")
@click.option("--max-length", default=64, show_default=True, help="Most tokens of a text, special tokens included.")
@click.option("--top-k", default=256, show_default=True, help="Most entries of a vector.")
@click.option("--exclude-special-tokens", is_flag=True, help="Give special tokens weight 0.")
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    default=["fp32"],
    show_default=True,
    type=click.Choice(PRECISIONS),
    help="A variant to make; may be given several times.",
)
@click.option("--calibration", type=INPUT, default=CALIBRATION, help="Texts to calibrate on; default: Korean ones.")
@click.option(
    "--evaluate",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="A retrieval set in the BEIR layout; variants must keep 99.5% of fp32's nDCG@10 on it.",
)
@click.option("--allow-loss", is_flag=True, help="Write a variant that loses more than it should.")
@click.option("--overwrite", is_flag=True, help="Replace a bundle that is at OUT.")
def export_command(
    source: str,
    out: Path,
    revision: str | None,
    max_length: int,
    top_k: int,
    exclude_special_tokens: bool,
    precisions: tuple[str, ...],
    calibration: Path,
    evaluate: Path | None,
    allow_loss: bool,
    overwrite: bool,
) -> None:
    """Turn the checkpoint SOURCE (a hub id or a folder) into a bundle at OUT.

    The graph is compared with PyTorch before anything appears at OUT.
    """
    started = time.perf_counter()
    with _stages() as progress:
        export(
            source,
            out,
            revision=revision,
            max_length=max_length,
            top_k=top_k,
            exclude_special_tokens=exclude_special_tokens,
            precisions=precisions,
            calibration=calibration,
            evaluate=evaluate,
            allow_loss=allow_loss,
            overwrite=overwrite,
            progress=progress,
        )
    _print_summary(out, open_bundle(out).manifest, time.perf_counter() - started)


@contextmanager
def _stages() -> Iterator[Callable[[str], None]]:
    """A line a stage with its time, on standard error; gives the function that begins a stage."""
    with Progress(
        SpinnerColumn(finished_text="✓"), TextColumn("{task.description}"), TimeElapsedColumn(), console=ERR
    ) as bar:

        def finish() -> None:
            for task in bar.task_ids:
                bar.update(task, total=1, completed=1)

        def begin(stage: str) -> None:
            finish()
            bar.add_task(stage, total=None)

        yield begin
        finish()


def _print_summary(out: Path, manifest: Manifest, seconds: float) -> None:
    table = Table(show_header=False, box=None)
    table.add_row("bundle", str(out))
    table.add_row("from", f"{manifest.source.id} ({manifest.source.architecture})")
    table.add_row("parameters", f"{manifest.source.parameters:,}")
    table.add_row("vocabulary", f"{manifest.vocabulary_size:,}")
    table.add_row("max_length, top_k", f"{manifest.max_length}, {manifest.top_k}")
    for variant in manifest.variants:
        size = sum(file.bytes for file in variant.files)
        fidelity = variant.fidelity
        table.add_row(
            variant.name,
            f"{size / 1e6:,.1f} MB, {variant.settings['nodes']:,} nodes; against PyTorch: largest weight error "
            f"{fidelity['max_weight_error']:.1e}, top-10 overlap {fidelity['top10_overlap']:.2%}"
            + (f", {fidelity['ndcg_kept']:.2%} of fp32's nDCG@10" if "ndcg_kept" in fidelity else ""),
        )
    table.add_row("time", f"{seconds:.1f} s")
    Console().print(table)


@click.command("verify")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--against", required=True, metavar="SOURCE", help="The checkpoint, a hub id or a folder.")
@click.option("--texts", required=True, type=INPUT, help="A file, one text a line.")
@click.option("--revision", help="Branch, tag or commit of a hub id.")
@click.option("--precision", help="The variant to verify; default: the one that would run here.")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write the report here too.")
def verify_command(
    bundle: Path, against: str, texts: Path, revision: str | None, precision: str | None, json_file: Path | None
) -> None:
    """Measure BUNDLE against a checkpoint's PyTorch encode() on the lines of a file."""
    encoder = SparseEncoder.load(bundle, precision=precision)
    checkpoint = load_checkpoint(against, revision, encoder.manifest.max_length)
    try:
        lines = texts.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ExportError(f"{texts} is not UTF-8 ({error}); convert it first") from None
    with ERR.status(f"{len(lines):,} texts through PyTorch and {encoder.variant.name}"):
        fidelity = verify(encoder, checkpoint, lines)
    _print_fidelity(encoder.variant.name, fidelity)
    if json_file is not None:
        content = {"variant": encoder.variant.name, "source": encoder.manifest.source.id, **fidelity.to_dict()}
        json_file.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


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
    Console().print(table)
