"""TensorRT: the shapes that engines are built for, the provider's options, and a cache that never gives a stale one.

An engine is good for one graph, one kind of GPU, one TensorRT and one set of options. All of them go into the name of
the folder that it lies in, so another combination looks elsewhere; a record of the files' hashes, written when the
engine is whole, says whether what lies there is what was built.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import logging
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..bundle import Manifest, Variant
from ..errors import DeviceError
from .base import RuntimeOptions
from .buffers import BoundEngine, Layout, Worker
from .cuda import LIMITS
from .driver import gpu_name
from .libraries import check_libraries
from .placement import Placement
from .session import onnxruntime_module, start_session

logger = logging.getLogger("spladert")

OPT_BATCH, MAX_BATCH = 32, 64  # texts of a batch: what an engine is tuned for, and the most it takes
RECORD = "engine.json"
INPUTS = ("input_ids", "attention_mask")


@dataclass(frozen=True)
class EngineKey:
    """What an engine is good for.

    Attributes:
        files: sha256 of the variant's files, graph first.
        gpu: name and compute capability of the GPU.
        tensorrt: TensorRT's version, as its library gives it.
        onnxruntime: ONNX Runtime's version: it cuts the graph into the parts that TensorRT compiles.
        options: the provider's options that change an engine.
    """

    files: tuple[str, ...]
    gpu: str
    tensorrt: str
    onnxruntime: str
    options: Mapping[str, str]

    def digest(self) -> str:
        content = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()


@dataclass(frozen=True)
class EngineReport:
    """How an engine came about.

    Attributes:
        folder: where it lies.
        seconds: what building took; 0 where it lay there already.
        bytes: size of the engine's files.
        nodes: number of nodes by provider, once TensorRT took what it takes; None where ONNX Runtime does not say.
        fell_back: operators that TensorRT left to another provider, with their number.
    """

    folder: str
    seconds: float
    bytes: int
    nodes: dict[str, int] | None
    fell_back: dict[str, int]


def start(graph: Path, manifest: Manifest, placement: Placement, options: RuntimeOptions) -> BoundEngine:
    """An engine over the placement's variant, whose graph is at `graph`; its TensorRT engine is built if need be.

    Raises:
        DeviceError: libraries are missing, or the provider does not start.
    """

    def on_build() -> None:
        logger.warning(
            "building the TensorRT engine of %s, minutes; spladert build does it ahead", placement.variant.name
        )

    session, _ = start_built(graph, manifest, placement, options, on_build)
    layout = Layout("cuda", manifest.top_k, manifest.pad_token_id, manifest.max_length)
    ort = onnxruntime_module()
    # A worker of its own each would hold the engine once more, and TensorRT runs one at a time anyhow: its provider
    # locks an engine for a batch. CUDA graphs of this provider are not used.
    return BoundEngine(
        lambda: Worker(ort, lambda capture: session, layout, capture=False), LIMITS.with_texts(MAX_BATCH), most=1
    )


def start_built(
    graph: Path, manifest: Manifest, placement: Placement, options: RuntimeOptions, on_build: Callable[[], None]
) -> tuple[Any, EngineReport]:
    """A session over the variant's TensorRT engine, and how the engine came about.

    Where it is not in the cache, `on_build` is called, and it is built.

    Raises:
        DeviceError: libraries are missing, or the provider does not start.
    """
    check_libraries("tensorrt")

    def start(folder: Path) -> Any:
        session = start_session(
            graph,
            placement.providers,
            options,
            provider_options=provider_options(manifest, folder),
            config={"session.record_ep_graph_assignment_info": "1"},
        )
        one = np.ones((1, 1), np.int64)
        session.run(None, {"input_ids": one * manifest.pad_token_id, "attention_mask": one})  # what is lazy, now
        return session

    key = engine_key(manifest, placement.variant, str(onnxruntime_module().__version__))
    return prepare_engine(engines_root(), placement.variant.name, key, start, on_build=on_build)


def shape_options(manifest: Manifest) -> dict[str, str]:
    """The profile: batch 1 to MAX_BATCH, length 1 to the bundle's max_length, best at OPT_BATCH full texts.

    The types are those in the graph: without precision flags ONNX Runtime builds a strongly typed network
    (microsoft/onnxruntime#18707), so that what was measured is what runs.
    """

    def shape(batch: int, length: int) -> str:
        return ",".join(f"{name}:{batch}x{length}" for name in INPUTS)

    return {
        "trt_profile_min_shapes": shape(1, 1),
        "trt_profile_opt_shapes": shape(OPT_BATCH, manifest.max_length),
        "trt_profile_max_shapes": shape(MAX_BATCH, manifest.max_length),
    }


def provider_options(manifest: Manifest, folder: Path) -> dict[str, str]:
    """All options of the TensorRT provider, by the names that ONNX Runtime documents, with the engines in `folder`."""
    return {
        **shape_options(manifest),
        "trt_engine_cache_enable": "True",
        "trt_engine_cache_path": str(folder),
        "trt_timing_cache_enable": "True",
        "trt_timing_cache_path": str(folder.parent),  # timings serve other graphs on the same GPU too
    }


def engine_key(manifest: Manifest, variant: Variant, onnxruntime_version: str) -> EngineKey:
    """The key for this machine.

    Raises:
        DeviceError: there is no GPU that starts, or no TensorRT.
    """
    return EngineKey(
        files=tuple(file.sha256 for file in variant.files),
        gpu=gpu_name(),
        tensorrt=tensorrt_version(),
        onnxruntime=onnxruntime_version,
        options=shape_options(manifest),
    )


def engines_root() -> Path:
    """$XDG_CACHE_HOME/spladert/engines, by default in ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "spladert" / "engines"


def prepare_engine(
    root: Path,
    name: str,
    key: EngineKey,
    start: Callable[[Path], Any],
    *,
    on_build: Callable[[], None] = lambda: None,
) -> tuple[Any, EngineReport]:
    """A session over the engine of `key`, and how the engine came about.

    Args:
        root: the cache's folder; engines of other keys in it are not touched.
        name: what the engine's folder begins with.
        key: what the engine must be good for.
        start: makes the session with its engine in the folder it is given: ONNX Runtime reads the engine that lies
            there, and builds one where none does.
        on_build: called before an engine is built.

    Raises:
        DeviceError: the session started, but TensorRT built nothing for it.
    """
    from filelock import FileLock

    folder = root / f"{name}-{key.digest()[:16]}"
    root.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):  # two processes do not build the same engine
        report = _read_record(folder, key)
        if report is not None:
            return start(folder), report
        shutil.rmtree(folder, ignore_errors=True)  # unfinished, altered or of another key
        folder.mkdir()
        on_build()
        started = time.perf_counter()
        session = start(folder)
        seconds = time.perf_counter() - started
        nodes, fell_back = assigned_nodes(session)
        files = {path.name: _sha256(path) for path in sorted(folder.iterdir())}
        if not files:
            raise DeviceError(f"TensorRT built no engine of {name}: no part of the graph runs in it; use device 'cuda'")
        size = sum((folder / file).stat().st_size for file in files)
        report = EngineReport(str(folder), seconds, size, nodes, fell_back)
        record = {"key": asdict(key), "files": files, "report": asdict(report)}
        (folder / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        return session, report


def _read_record(folder: Path, key: EngineKey) -> EngineReport | None:
    """The report of the engine in `folder`; None where none is whole, or it is not the one that was built."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        same_key = record["key"] == json.loads(json.dumps(asdict(key)))
        intact = all(_sha256(folder / name) == digest for name, digest in record["files"].items())
        report = EngineReport(**record["report"] | {"folder": str(folder), "seconds": 0.0})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return report if same_key and intact and record["files"] else None


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def assigned_nodes(session: Any) -> tuple[dict[str, int] | None, dict[str, int]]:
    """Nodes by provider, and the operators that the first provider did not take, as ONNX Runtime recorded them."""
    try:
        parts = session.get_provider_graph_assignment_info()
    except Exception:  # older than the call, or the recording is off: there is nothing to say
        return None, {}
    nodes: Counter[str] = Counter()
    fell_back: Counter[str] = Counter()
    first = session.get_providers()[0]
    for part in parts:
        operators = [node.op_type for node in part.get_nodes()]
        nodes[part.ep_name] += len(operators)
        if part.ep_name != first:
            fell_back.update(operators)
    return dict(nodes), dict(fell_back)


def tensorrt_version() -> str:
    """The version that libnvinfer gives, loaded before by ONNX Runtime's provider or from the loader's paths.

    Raises:
        DeviceError: it is not here.
    """
    for major in (10, 11, 12):
        try:
            library = ctypes.CDLL(f"libnvinfer.so.{major}" if os.name != "nt" else f"nvinfer_{major}.dll")
        except OSError:
            continue
        return str(library.getInferLibVersion())
    raise DeviceError("libnvinfer is not here; install TensorRT: pip install tensorrt-cu12, or -cu13 for CUDA 13")
