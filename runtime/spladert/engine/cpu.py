"""The CPU: the compiled engine where it runs the variant, else ONNX Runtime, or any provider fed from the CPU."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..batching import Limits
from ..bundle import Manifest
from ..errors import DeviceError, InputError
from .base import ISAS, Engine, RuntimeOptions
from .padding import pad
from .placement import Placement
from .session import start_session

if TYPE_CHECKING:
    from .base import TopK

logger = logging.getLogger("spladert")

# A larger batch is no faster: a token costs the same in a batch of 64 and of 1,024. A batch costs by itself what 5 or 6
# tokens cost with a model of 149 M parameters, and 9 or 10 with one of 6 M, on Zen 3 as on Zen 4 with AVX512-VNNI. It
# is not measured at a load, as little hangs on it: with 8 the batches of 1,000 sentences cost at most 0.1% more than
# with the best of 5 to 9; with 30 they would cost 1% more.
LIMITS = Limits(tokens=1024, batch_cost=8)


class SessionEngine:
    """An `Engine` over a session whose inputs and outputs are arrays on the CPU."""

    def __init__(self, session: Any, pad_token_id: int, limits: Limits = LIMITS, runs_on: str = "ONNX Runtime") -> None:
        self.session = session
        self.limits = limits
        self.providers: tuple[str, ...] = tuple(session.get_providers())
        self.runs_on = runs_on
        self._pad_token_id = pad_token_id

    def run(self, rows: Sequence[Sequence[int]]) -> TopK:
        if self.session is None:
            raise InputError("this encoder is closed; load it again")
        input_ids, attention_mask = pad(rows, self._pad_token_id)
        indices, values = self.session.run(
            ["indices", "values"], {"input_ids": input_ids, "attention_mask": attention_mask}
        )
        return indices, values  # int32, float32 [batch, k]

    def close(self) -> None:
        self.session = None


def start(graph: Path, manifest: Manifest, placement: Placement, options: RuntimeOptions) -> Engine:
    """An engine over the placement's variant, whose graph is at `graph`.

    The compiled engine takes cpu-int8 where it is installed and covers the graph, unless providers were named: those
    are ONNX Runtime's.

    Raises:
        BundleError: onnxruntime cannot load the graph.
        DeviceError: the first provider did not start, or the instruction set that was asked for does not run.
        InputError: providers and an instruction set of the compiled engine contradict.
    """
    isa, runs_on = asked_isa(options), "ONNX Runtime"
    if placement.providers_named and options.isa not in (None, "onnx"):
        raise InputError(
            f"isa is {options.isa!r}, of the compiled engine, and the provider {placement.providers[0]} is ONNX "
            "Runtime's; leave one of them out"
        )
    if placement.variant.precision == "int8" and not placement.providers_named and isa != "onnx":
        from . import native  # imports what ONNX Runtime does not need

        try:
            return native.start(graph, manifest, options, isa)
        except native.UnavailableError as error:
            if isa is not None:
                raise DeviceError(f"{placement.variant.name} does not run with {isa}: {error}") from None
            logger.log(error.level, "%s runs on ONNX Runtime: %s", placement.variant.name, error)
            runs_on = f"ONNX Runtime ({error})"
    elif options.isa not in (None, "onnx"):
        raise DeviceError(f"{placement.variant.name} does not run with {isa}, which is for cpu-int8 on the CPU")
    session = start_session(graph, placement.providers, options)
    return SessionEngine(session, manifest.pad_token_id, runs_on=runs_on)


def asked_isa(options: RuntimeOptions) -> str | None:
    """The instruction set that the options or SPLADERT_ISA of the environment ask for.

    Raises:
        InputError: the environment's is not known.
    """
    named = options.isa or os.environ.get("SPLADERT_ISA") or None
    if named is not None and named not in ISAS:
        raise InputError(f"SPLADERT_ISA is {named!r}; use one of {', '.join(ISAS)}, or leave it out")
    return named
