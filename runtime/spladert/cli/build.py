"""`spladert build`: a bundle's TensorRT engine, built ahead of its first use."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from ..bundle import open_bundle
from ..gpu import start_tensorrt
from ..session import choose_device, choose_variant
from ..tensorrt import EngineReport
from .options import stderr_console

if TYPE_CHECKING:
    from rich.progress import Progress


@click.command("build")
@click.argument("bundle")
@click.option("--revision", metavar="R", help="Branch, tag or commit, where BUNDLE is a hub id.")
@click.option(
    "--device", type=click.Choice(["tensorrt"]), default="tensorrt", show_default=True, help="What to build for."
)
@click.option("--precision", metavar="P", help="A precision that the bundle has for it. [default: fp16 before int8]")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def build_command(bundle: str, revision: str | None, device: str, precision: str | None, as_json: bool) -> None:
    """Build the TensorRT engine of BUNDLE (a folder or a hub id) for this machine's GPU.

    It takes minutes, once: the engine is cached by graph, GPU, TensorRT, ONNX Runtime and options, and an engine of
    other ones is never used. On standard output: its time and size, and the operators that TensorRT did not take.
    """
    opened = open_bundle(bundle, revision=revision)
    chosen, providers = choose_device(device, None)
    variant = choose_variant(opened.manifest, chosen, precision)
    with _progress(quiet=as_json) as progress:

        def on_build() -> None:
            if progress is not None:
                progress.add_task(f"building {variant.name}, batch and length as in the report", total=None)

        graph = opened.graph(variant)
        _, report = start_tensorrt(graph, opened.manifest, variant, providers, None, on_build)
    click.echo(json.dumps(asdict(report), indent=2) if as_json else describe(report))


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
