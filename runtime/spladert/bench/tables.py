"""A report as tables for the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from .report import Report


def title(report: Report) -> str:
    """What was measured and on what, in two lines: every table, plot and copy of them needs it."""
    machine = report.machine
    threads = f"{report.threads} threads" if report.threads else "a thread a physical core"
    packages = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    return (
        f"{report.source} ({report.architecture}, {report.parameters:,} parameters), {report.variant} on "
        f"{report.device} by {report.runs_on}, {threads}{'' if report.spin else ' that do not spin'}\n"
        f"{machine['cpu']} (family {machine['family']}, model {machine['model']}; "
        f"{', '.join(machine['flags']) or 'instruction sets unknown'}), {machine['cores']} cores; "
        f"{machine['system']}; {packages}"
    )


def show(report: Report, console: Console) -> None:
    """Print the tables, and what disturbed the measurement."""
    console.print(Text(title(report), style="bold"), soft_wrap=True)
    latency = [
        (
            f"{one.tokens}",
            milliseconds(one.p50_ms),
            milliseconds(one.p90_ms),
            milliseconds(one.p99_ms) if one.p99_ms is not None else f"<= {milliseconds(one.max_ms)}",
            f"{one.calls:,}",
        )
        for one in report.latency
    ]
    _print(console, "Latency of one text, ms", ("tokens", "p50", "p90", "p99", "calls"), latency)
    rates = [
        (f"{one.batch_size}", f"{one.callers}", f"{one.texts_per_s:,.1f}", f"{one.tokens_per_s:,.0f}")
        for one in report.throughput
    ]
    headers = ("texts a call", "callers", "texts/s", "tokens/s")
    _print(console, f"Throughput, texts {report.mix}", headers, rates)
    memory = [(f"{one.batch_size}" if one.batch_size else "loaded", f"{one.peak_mb:,.0f}") for one in report.memory]
    _print(console, f"Peak memory, texts of {report.max_length} tokens", ("texts a call", "MB"), memory)
    start = report.start
    rows = [("import", start.import_s), ("load", start.load_s), ("first vector", start.first_vector_s)]
    _print(console, "Since the start of a process", ("", "s"), [(name, f"{value:.2f}") for name, value in rows])
    for warning in report.warnings:
        console.print(Text(f"warning: {warning}", style="yellow"), soft_wrap=True)


def milliseconds(value: float) -> str:
    """Three digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _print(console: Console, name: str, headers: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    table = Table(box=None, pad_edge=False)
    for header in headers:
        table.add_column(header, justify="right")
    for row in rows:
        table.add_row(*row)
    console.print()
    console.print(Text(name))
    console.print(table)
