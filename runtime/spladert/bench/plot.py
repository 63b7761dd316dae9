"""A report as one picture: latency, throughput and memory side by side. Needs the extra `bench`."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

from ..errors import DependencyError, InputError
from .report import Report
from .tables import title


def matplotlib_module() -> Any:
    """matplotlib, set up for small and reproducible files.

    Raises:
        DependencyError: it is not installed.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise DependencyError(f"plots need more packages ({error}): pip install 'spladert[bench]'") from error
    matplotlib.use("Agg")
    matplotlib.rcParams.update({"font.size": 9, "svg.hashsalt": "spladert", "axes.grid": True, "grid.alpha": 0.3})
    return matplotlib


def check_plot(path: Path) -> None:
    """That a plot can be written to a file of this name, before there is anything to plot.

    Raises:
        DependencyError: matplotlib is not installed.
        InputError: it writes no files of that ending, or there is no such folder.
    """
    matplotlib_module()
    from matplotlib.figure import Figure

    known = Figure().canvas.get_supported_filetypes()
    if path.suffix.lstrip(".") not in known:
        raise InputError(f"{path} cannot be plotted to; its ending must be one of {', '.join(sorted(known))}")
    if not path.parent.is_dir():
        raise InputError(f"{path} cannot be plotted to: there is no folder {path.parent}")


def plot(report: Report, path: Path) -> None:
    """Write the picture; the ending of `path` is its format.

    Raises:
        DependencyError, InputError: as `check_plot`.
    """
    check_plot(path)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4.2), layout="constrained")
    latency, throughput, memory = figure.subplots(1, 3)
    tokens = [one.tokens for one in report.latency]
    for name, values in (
        ("p50", [one.p50_ms for one in report.latency]),
        ("p90", [one.p90_ms for one in report.latency]),
        ("p99", [one.p99_ms if one.p99_ms is not None else float("nan") for one in report.latency]),
    ):
        latency.plot(tokens, values, marker="o", label=name)
    _powers(latency, tokens)
    latency.set(xlabel="tokens of a text", title="latency of one text, ms")
    latency.set_ylim(bottom=0)
    latency.legend()

    sizes = sorted({one.batch_size for one in report.throughput})
    for callers in sorted({one.callers for one in report.throughput}):
        rates = {one.batch_size: one.texts_per_s for one in report.throughput if one.callers == callers}
        label = f"{callers} caller{'s' if callers > 1 else ''}"
        throughput.plot(list(rates), list(rates.values()), marker="o", label=label)
    _powers(throughput, sizes)
    throughput.set(xlabel="texts a call", title="texts a second")
    throughput.set_ylim(0, 1.1 * max(one.texts_per_s for one in report.throughput))
    throughput.legend()

    names = [str(one.batch_size) if one.batch_size else "loaded" for one in report.memory]
    bars = memory.bar(names, [one.peak_mb for one in report.memory])
    memory.bar_label(bars, [f"{one.peak_mb:,.0f}" for one in report.memory])
    memory.margins(y=0.1)
    memory.set(xlabel="texts a call", title=f"peak memory, MB, texts of {report.max_length} tokens")

    lines = [*title(report).splitlines(), *(f"warning: {warning}" for warning in report.warnings)]
    figure.suptitle("\n".join(textwrap.fill(line, 150) for line in lines), fontsize=8)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def _powers(axes: Any, values: list[int]) -> None:
    axes.set_xscale("log", base=2)
    axes.set_xticks(values, [str(value) for value in values])
