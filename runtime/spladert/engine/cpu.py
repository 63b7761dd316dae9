"""ONNX Runtime on the CPU, or on any provider that takes its arrays from there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..batching import Limits
from ..bundle import Manifest
from ..errors import InputError
from .base import RuntimeOptions
from .padding import pad
from .placement import Placement
from .session import start_session

if TYPE_CHECKING:
    from .base import TopK

# A larger batch is no faster: a token costs the same in a batch of 64 and of 1,024. A batch costs by itself what
# 6 tokens cost with a model of 149 M parameters, and 10 with one of 6 M: the line through benchmarks/compare.py's
# medians of 1 x 8 and 1 x 64 tokens.
LIMITS = Limits(tokens=1024, batch_cost=8)


class SessionEngine:
    """An `Engine` over a session whose inputs and outputs are arrays on the CPU."""

    def __init__(self, session: Any, pad_token_id: int, limits: Limits = LIMITS) -> None:
        self.session = session
        self.limits = limits
        self.providers: tuple[str, ...] = tuple(session.get_providers())
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


def start(graph: Path, manifest: Manifest, placement: Placement, options: RuntimeOptions) -> SessionEngine:
    """An engine over the placement's variant, whose graph is at `graph`.

    Raises:
        BundleError: onnxruntime cannot load the graph.
        DeviceError: the first provider did not start.
    """
    return SessionEngine(start_session(graph, placement.providers, options), manifest.pad_token_id)
