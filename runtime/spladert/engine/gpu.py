"""Starting a variant on a GPU: libraries first, then the provider with its options, then lanes for callers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..bundle import Manifest, Variant
from .buffers import Lane, Lanes, Layout
from .libraries import load_libraries, load_library, missing_error
from .session import PROVIDERS, onnxruntime_module, start_session
from .tensorrt import MAX_BATCH, EngineReport, engine_key, engines_root, prepare_engine, provider_options

logger = logging.getLogger("spladert")

CUDNN = "libcudnn.so.9"


def start_lanes(
    graph: Path, manifest: Manifest, variant: Variant, device: str, providers: Sequence[str], threads: int | None
) -> Lanes:
    """Lanes over a variant on "cuda" or "tensorrt".

    Raises:
        DeviceError: libraries are missing, or the provider does not start.
    """
    check_libraries(device)
    layout = Layout("cuda", manifest.top_k, manifest.pad_token_id, manifest.max_length)
    ort = onnxruntime_module()
    if device == "tensorrt":

        def on_build() -> None:
            logger.warning("building the TensorRT engine of %s, minutes; spladert build does it ahead", variant.name)

        session, _ = start_tensorrt(graph, manifest, variant, providers, threads, on_build)
        # A lane of its own each would hold the engine once more, and TensorRT runs one at a time anyhow: its provider
        # locks an engine for a run. CUDA graphs of this provider are not used.
        return Lanes(lambda: Lane(ort, lambda capture: session, layout, capture=False), most=1, most_texts=MAX_BATCH)

    def start(capture: bool) -> Any:
        options = {PROVIDERS["cuda"]: cuda_options(variant, capture=capture)}
        return start_session(graph, device, list(providers), threads, options)

    return Lanes(lambda: Lane(ort, start, layout, capture=True))


def cuda_options(variant: Variant, *, capture: bool) -> dict[str, str]:
    """Options of the CUDA provider: TensorFloat-32 has 10 bits of mantissa, and an fp32 variant promises more."""
    return {
        "use_tf32": "1" if variant.precision != "fp32" else "0",
        "enable_cuda_graph": "1" if capture else "0",
    }


def start_tensorrt(
    graph: Path,
    manifest: Manifest,
    variant: Variant,
    providers: Sequence[str],
    threads: int | None,
    on_build: Callable[[], None],
) -> tuple[Any, EngineReport]:
    """A session over the variant's TensorRT engine, and how the engine came about.

    Where it is not in the cache, `on_build` is called, and it is built.

    Raises:
        DeviceError: libraries are missing, or the provider does not start.
    """
    check_libraries("tensorrt")
    ort = onnxruntime_module()

    def start(folder: Path) -> Any:
        options = {PROVIDERS["tensorrt"]: provider_options(manifest, folder)}
        config = {"session.record_ep_graph_assignment_info": "1"}
        session = start_session(graph, "tensorrt", list(providers), threads, options, config)
        one = np.ones((1, 1), np.int64)
        session.run(None, {"input_ids": one * manifest.pad_token_id, "attention_mask": one})  # what is lazy, now
        return session

    key = engine_key(manifest, variant, str(ort.__version__))
    return prepare_engine(engines_root(), variant.name, key, start, on_build=on_build)


def check_libraries(device: str) -> None:
    """Load the libraries of a device's provider.

    Raises:
        DeviceError: some are missing; it names them and how to get them.
    """
    ort = onnxruntime_module()
    folder = Path(ort.__file__).parent / "capi"
    names = ("cuda", "tensorrt") if device == "tensorrt" else ("cuda",)  # TensorRT leaves to CUDA what it does not take
    missing = [lib for name in names for lib in load_libraries(folder / f"libonnxruntime_providers_{name}.so")]
    # Newer CUDA providers do not link cuDNN but open it: without it ReduceMax fails in the first run, not at the start.
    if not load_library(CUDNN):
        missing.append(CUDNN)
    if missing:
        raise missing_error(PROVIDERS[device], list(dict.fromkeys(missing)), _cuda_major())


def _cuda_major() -> int | None:
    try:
        from onnxruntime.capi.build_and_package_info import cuda_version
    except ImportError:
        return None
    return int(str(cuda_version).split(".")[0]) if cuda_version else None
