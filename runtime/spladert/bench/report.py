"""The figures of a bundle, and what they depend on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Latency:
    """Milliseconds from a text of so many tokens to its vector; `p99_ms` is None with too few calls for it."""

    tokens: int
    p50_ms: float
    p90_ms: float
    p99_ms: float | None
    max_ms: float
    calls: int


@dataclass(frozen=True)
class Throughput:
    """Rates of `callers` at once, each with `batch_size` texts a call."""

    batch_size: int
    callers: int
    calls: int
    texts_per_s: float
    tokens_per_s: float


@dataclass(frozen=True)
class Start:
    """Seconds from the start of a process, medians, files in the page cache."""

    import_s: float
    load_s: float
    first_vector_s: float


@dataclass(frozen=True)
class Memory:
    """Largest resident set, MB (1e6 bytes), of a process that makes one call with so many texts of the maximum length;
    with 0, that only loads."""

    batch_size: int
    peak_mb: float


@dataclass(frozen=True)
class Report:
    """A bundle's figures on this machine, and what they depend on.

    Attributes:
        machine: the CPU, its instruction sets, usable cores.
        runs_on: what computed.
        threads: threads of a batch; None is one a physical core.
        mix: what the texts of the throughput are.
        warnings: what disturbed the measurement, a sentence each.
    """

    source: str
    architecture: str
    parameters: int
    max_length: int
    variant: str
    device: str
    runs_on: str
    threads: int | None
    spin: bool
    machine: dict[str, Any]
    versions: dict[str, str]
    mix: str
    latency: tuple[Latency, ...]
    throughput: tuple[Throughput, ...]
    start: Start
    memory: tuple[Memory, ...]
    warnings: tuple[str, ...]
