"""What was done of a job: of each part, and of all."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class PartReport:
    """A part that is done.

    Attributes:
        part: its number.
        rows: rows encoded.
        tokens: token ids that were run.
        truncated: texts that were cut.
        rejected: rows that could not be encoded.
        seconds: that it took its worker, reading and writing included.
        worker: host and process.
        engine: the variant and what ran it.
        file: of its rows, below the output; None where there is none.
        bytes: of that file.
    """

    part: int
    rows: int
    tokens: int
    truncated: int
    rejected: int
    seconds: float
    worker: str
    engine: str
    file: str | None = None
    bytes: int = 0


@dataclass(frozen=True)
class ClusterReport:
    """A job that is done.

    Attributes:
        parts, rows, tokens, truncated, rejected: sums over the parts.
        resumed: parts that an interrupted run had done.
        engines: what ran; more than one means weights whose last digits differ.
        rates: rows a second of each worker of this run, while it was at work.
    """

    parts: int
    rows: int
    tokens: int
    truncated: int
    rejected: int
    resumed: int
    engines: tuple[str, ...]
    rates: dict[str, float]


def summarize(done: Iterable[PartReport], now: Iterable[PartReport]) -> ClusterReport:
    """The report of a job whose parts are `done`, `now` being those of this run."""
    done, now = list(done), list(now)
    rows, seconds = defaultdict[str, int](int), defaultdict[str, float](float)
    for part in now:
        rows[part.worker] += part.rows
        seconds[part.worker] += part.seconds
    return ClusterReport(
        parts=len(done),
        rows=sum(part.rows for part in done),
        tokens=sum(part.tokens for part in done),
        truncated=sum(part.truncated for part in done),
        rejected=sum(part.rejected for part in done),
        resumed=len(done) - len(now),
        engines=tuple(sorted({part.engine for part in done})),
        rates={worker: rows[worker] / max(seconds[worker], 1e-9) for worker in sorted(rows)},
    )
