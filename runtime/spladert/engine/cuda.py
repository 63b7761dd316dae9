"""CUDA: libraries first, then a session with CUDA graphs for each worker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..batching import Limits
from ..bundle import Manifest, Variant
from .base import RuntimeOptions
from .buffers import BoundEngine, Layout, Worker
from .libraries import check_libraries
from .placement import Placement
from .session import onnxruntime_module, start_session

# A GPU needs more tokens than a CPU to be busy: 256 texts of 64 take 128 MiB of fp16 logits at a time. What a batch
# costs there was not measured; this lets batches be full.
LIMITS = Limits(tokens=16_384, batch_cost=1024)
WORKERS = 2  # one batch is copied and launched while another computes; each holds the weights once more


def start(graph: Path, manifest: Manifest, placement: Placement, options: RuntimeOptions) -> BoundEngine:
    """An engine over the placement's variant, whose graph is at `graph`.

    Raises:
        DeviceError: libraries are missing, or the provider does not start.
    """
    check_libraries("cuda")
    layout = Layout("cuda", manifest.top_k, manifest.pad_token_id, manifest.max_length)
    ort = onnxruntime_module()

    def start(capture: bool) -> Any:
        own = cuda_options(placement.variant, capture=capture)
        return start_session(graph, placement.providers, options, provider_options=own)

    return BoundEngine(lambda: Worker(ort, start, layout, capture=True), LIMITS, most=WORKERS)


def cuda_options(variant: Variant, *, capture: bool) -> dict[str, str]:
    """Options of the CUDA provider: TensorFloat-32 has 10 bits of mantissa, and an fp32 variant promises more."""
    return {
        "use_tf32": "1" if variant.precision != "fp32" else "0",
        "enable_cuda_graph": "1" if capture else "0",
    }
