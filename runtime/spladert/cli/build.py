"""`spladert build`: a bundle's TensorRT engine, built ahead of its first use."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..bundle import open_bundle
from ..engine.gpu import start_tensorrt
from ..engine.session import choose_run
from ..engine.tensorrt import EngineReport
from .options import json_option, stderr_console, write_json

if TYPE_CHECKING:
    from rich.progress import Progress


@click.command("build")
@click.argument("bundle")
@click.option("--revision", metavar="R", help="Branch, tag or commit, where BUNDLE is a hub id.")
@click.option(
    "--device", type=click.Choice(["tensorrt"]), default="tensorrt", show_default=True, help="What to build for."
)
@click.option("--precision", metavar="P", help="A precision that the bundle has for it. [default: fp16 before int8]")
@json_option
def build_command(
    bundle: str, revision: str | None, device: str, precision: str | None, json_path: Path | None
) -> None:
    """Build the TensorRT engine of BUNDLE (a folder or a hub id) for this machine's GPU.

    It takes minutes, once: the engine is cached by graph, GPU, TensorRT, ONNX Runtime and options, and an engine of
    other ones is never used. On standard output: its time and size, and the operators that TensorRT did not take.
    """
    opened = open_bundle(bundle, revision=revision)
    _, providers, variant = choose_run(opened.manifest, device, None, precision)
    with _progress(quiet=json_path is not None and str(json_path) == "-") as progress:

        def on_build() -> None:
            if progress is not None:
                progress.add_task(f"building the engine of {variant.name}", total=None)

        graph = opened.graph(variant)
        _, report = start_tensorrt(graph, opened.manifest, variant, providers, None, on_build)
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
