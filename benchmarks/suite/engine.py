"""What an engine of the comparison is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Encode = Callable[[Sequence[str]], object]


class NotHereError(Exception):
    """The engine cannot run here, for the reason given (the CPU lacks an instruction, a variant is not made)."""


@dataclass(frozen=True)
class Inputs:
    """What an engine is loaded from. `work` is a folder where it keeps what it makes of the checkpoint."""

    checkpoint: Path
    bundle: Path
    work: Path
    threads: int
    max_length: int
    top_k: int


@dataclass(frozen=True)
class Engine:
    """One engine.

    Attributes:
        load: gives a function from texts to their sparse vectors, as the engine's users get them.
        prepare: makes files in `Inputs.work` once, before anything is timed; takes calibration texts.
        precision: of the weights, for the distance to the machine's floor.
        batching: of the mix. "own": the engine batches by itself. "in order" and "sorted" (by length): it is given
            batches of 32 texts.
        packages: distributions whose versions are reported.
    """

    load: Callable[[Inputs], Encode]
    precision: str
    batching: Literal["own", "in order", "sorted"]
    packages: tuple[str, ...]
    prepare: Callable[[Inputs, Sequence[str]], None] | None = None
