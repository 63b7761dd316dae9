"""What is above an engine sees of it, whatever it runs on."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING, Protocol

from ..batching import Limits
from ..errors import InputError
from .machine import usable_cores

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    TopK = tuple[NDArray[np.int32], NDArray[np.float32]]

logger = logging.getLogger("spladert")

# What cpu-int8 can run with: instruction sets of the compiled engine, and ONNX Runtime, which knows its own.
ISAS = ("amx", "avx512-vnni", "avx-vnni", "avx2", "neon-dotprod", "neon", "onnx")


class Engine(Protocol):
    """A graph that is ready to run; several threads may run it at once.

    Attributes:
        limits: what a batch may hold, and what it costs.
        providers: ONNX Runtime's providers in use, first choice first; none where it is not what runs.
        runs_on: what computes, for people to read.
    """

    limits: Limits
    providers: tuple[str, ...]
    runs_on: str

    def run(self, rows: Sequence[Sequence[int]]) -> TopK:
        """Token ids of texts, at least one token each, to `indices` int32 and `values` float32 [texts, k].

        Padding, or packing, is the engine's own. Weights fall along a row; where a text has fewer than k, zeros follow.
        """
        ...

    def close(self) -> None:
        """Give memory and threads back; running it afterwards is an error of the caller."""
        ...


@dataclass(frozen=True)
class RuntimeOptions:
    """How an engine runs. Threads change no result; another `isa` may in the last digits.

    Attributes:
        threads: threads of one batch; None is one a physical core, of those that this process may use.
        spin: let threads spin while they wait. Alone on its cores an engine is 1.1 to 1.5 times as fast with it; where
            another process shares them it is 1.2 to 1.3 times as slow.
        isa: an instruction set of the compiled engine, or "onnx" for ONNX Runtime, to run cpu-int8 with or not at all;
            None takes SPLADERT_ISA of the environment, else the best that runs here.

    Raises:
        InputError: `threads` is no integer of at least 1, or `isa` is not known.
    """

    threads: int | None = None
    spin: bool = True
    isa: str | None = None

    def __post_init__(self) -> None:
        if self.threads is not None and (
            isinstance(self.threads, bool) or not isinstance(self.threads, Integral) or self.threads < 1
        ):
            raise InputError(f"threads is {self.threads!r}; give an integer of at least 1, or leave it out")
        if not isinstance(self.spin, bool):
            raise InputError(f"spin is {self.spin!r}; give True or False")
        if self.isa is not None and self.isa not in ISAS:
            raise InputError(f"isa is {self.isa!r}; use one of {', '.join(ISAS)}, or leave it out")

    def thread_count(self) -> int | None:
        """Threads to start, at most as many as there are cores to run them; None leaves it to ONNX Runtime.

        More would take turns on the same cores, and where they spin, each would wait for another's time slice.
        """
        usable, installed = usable_cores()
        if self.threads is None:
            return None if usable == installed else usable
        if self.threads > usable:
            logger.warning("threads is %d, and this process may use %d cores: running %d", self.threads, usable, usable)
        return min(int(self.threads), usable)
