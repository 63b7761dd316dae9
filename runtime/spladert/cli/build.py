"""`spladert build`: a bundle's TensorRT engine, built ahead of its first use."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..bundle import open_bundle
from ..engine import PlacementRequest, RuntimeOptions, candidates, this_machine
from ..engine.tensorrt import EngineReport, start_built
from .options import json_option, revision_option, stderr_console, variant_option, write_json

if TYPE_CHECKING:
    from rich.progress import Progress


@click.command("build")
@click.argument("bundle")
@revision_option
@click.option(
    "--device", type=click.Choice(["tensorrt"]), default="tensorrt", show_default=True, help="What to build for."
)
@variant_option
@json_option
def build_command(bundle: str, revision: str | None, device: str, variant: str | None, json_path: Path | None) -> None:
    """Build the TensorRT engine of BUNDLE (a folder or a hub id) for this machine's GPU.

    It takes minutes, once: the engine is cached by graph, GPU, TensorRT, ONNX Runtime and options, and an engine of
    other ones is never used. On standard output: its time and size, and the operators that TensorRT did not take.
    """
    opened = open_bundle(bundle, revision=revision)
    request = PlacementRequest(device, variant)
    [placement] = candidates(opened.manifest, request, this_machine(request))
    with _progress(quiet=json_path is not None and str(json_path) == "-") as progress:

        def on_build() -> None:
            if progress is not None:
                progress.add_task(f"building the engine of {placement.variant.name}", total=None)

        graph = opened.graph(placement.variant)
        _, report = start_built(graph, opened.manifest, placement, RuntimeOptions(), on_build)
    if not write_json(asdict(report), json_path):
        click.echo(describe(report))


def _progress(*, quiet: bool) -> Progress | nullcontext[None]:
    """TensorRT does not say how far it is: a spinner with the time that has passed, on standard error."""
    if quiet:
        return nullcontext()
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    return Progress(*columns, console=stderr_console())


def describe(report: EngineReport) -> str:
    """The report in words."""
    from rich.filesize import decimal

    lines = [
        f"engine     {report.folder}",
        f"built in   {report.seconds:.1f} s" if report.seconds else "built      before; nothing to do",
        f"size       {decimal(report.bytes)}",
    ]
    if report.nodes is None:
        lines.append("nodes      this onnxruntime does not say which ran where")
    else:
        lines.append("nodes      " + ", ".join(f"{count} in {name}" for name, count in report.nodes.items()))
        fell_back = ", ".join(f"{count} {name}" for name, count in sorted(report.fell_back.items()))
        lines.append(f"fell back  {fell_back or 'none'}")
    return "\n".join(lines)
