"""`spladert bench`: how fast a bundle is on this machine."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from ..bench.measure import Settings, measure
from ..bench.plot import check_plot, plot
from ..evaluation.dataset import read_lines
from .options import Runtime, json_option, load_options, stderr_console, write_json
from .terminal import stdout_console


def _numbers(context: click.Context, option: click.Parameter, value: str | None) -> tuple[int, ...]:
    """Numbers of at least 1 with commas between, without repeats; none where the option is left out."""
    parts = value.split(",") if value is not None else []
    if not all(part.strip().isdecimal() and int(part) for part in parts):
        raise click.BadParameter(f"{value!r} is no list of numbers such as 1,8,32")
    return tuple(dict.fromkeys(int(part) for part in parts))


@click.command("bench")
@click.argument("bundle", required=False)
@click.option(
    "--lengths", callback=_numbers, metavar="N,N", help="Tokens of a text. [default: 8,16,32 and so on to max_length]"
)
@click.option(
    "--batch-sizes", callback=_numbers, default="1,8,32,128", show_default=True, metavar="N,N", help="Texts of a call."
)
@click.option(
    "--callers", callback=_numbers, default="1,2,4", show_default=True, metavar="N,N", help="Threads calling at once."
)
@click.option("--seconds", type=click.FloatRange(min=0), default=2.0, show_default=True, help="Of each figure, about.")
@click.option(
    "--texts",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="Texts of the throughput, one a line. [default: made up]",
)
@click.option("--plot", "plot_path", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Plot too.")
@json_option
@load_options
def bench_command(
    bundle: str | None,
    lengths: tuple[int, ...],
    batch_sizes: tuple[int, ...],
    callers: tuple[int, ...],
    seconds: float,
    texts: Path | None,
    plot_path: Path | None,
    json_path: Path | None,
    runtime: Runtime,
) -> None:
    """Measure BUNDLE (a folder or a hub id; none means the one that comes with spladert) on this machine.

    Latency of one text by its tokens; texts and tokens a second by the texts of a call and the callers at once; peak
    memory; and the time from the start of a process to its first vector. Each is measured in processes of its own, with
    the variant and device that encode would take or those named. Takes about a minute with a small model.
    """
    if plot_path is not None:
        check_plot(plot_path)
    console = stderr_console()
    report = measure(
        runtime.open(bundle),
        runtime.request(),
        runtime.options(),
        Settings(lengths, batch_sizes, callers, seconds),
        [line for _, line in read_lines(texts)] if texts is not None else None,
        say=lambda line: console.print(line, style="dim", soft_wrap=True),
    )
    if not write_json(asdict(report), json_path):
        from ..bench.tables import show

        show(report, stdout_console())
    if plot_path is not None:
        plot(report, plot_path)
