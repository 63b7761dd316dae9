"""Choosing a device and a variant, and starting ONNX Runtime with them: nothing here falls back in silence."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from ..bundle import Manifest, Variant
from ..errors import BundleError, DependencyError, DeviceError, InputError

if TYPE_CHECKING:
    import onnxruntime

logger = logging.getLogger("spladert")

Device = Literal["auto", "cpu", "cuda", "tensorrt"]
PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}
# (target, precision) of the variants a device can run, the preferred one first. int8 reads the fewest bytes after int4,
# and is exact with VNNI and without, for its weights have 7 bits; int4 is for size.
VARIANTS = {
    "cpu": (("cpu", "int8"), ("cpu", "fp32"), ("cpu", "int4")),
    "cuda": (("cuda", "fp16"), ("cuda", "bf16"), ("cpu", "fp32")),
    "tensorrt": (("tensorrt", "fp16"), ("tensorrt", "int8")),
}


def onnxruntime_module() -> Any:
    """The onnxruntime module.

    Raises:
        DependencyError: none is installed, or both distributions are, which overwrite each other.
    """
    installed = [name for name in ("onnxruntime", "onnxruntime-gpu") if _is_installed(name)]
    if len(installed) == 2:
        raise DependencyError(
            "onnxruntime and onnxruntime-gpu are both installed and overwrite each other: pip uninstall -y onnxruntime "
            "onnxruntime-gpu, then pip install 'spladert[cpu]' or 'spladert[gpu]'"
        )
    try:
        import onnxruntime
    except ImportError as error:
        raise DependencyError(
            f"onnxruntime cannot be imported ({error}): pip install 'spladert[cpu]', or 'spladert[gpu]' for CUDA"
        ) from error
    return onnxruntime


def _is_installed(distribution: str) -> bool:
    import importlib.metadata  # 20 ms that an import of spladert does not need

    try:
        importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def choose_device(device: str, providers: Sequence[str] | None) -> tuple[str, list[str]]:
    """The device to run on and ONNX Runtime's provider names for it, first choice first.

    Raises:
        InputError: an unknown device.
        DeviceError: the device or a named provider is not available in this onnxruntime.
    """
    if device not in get_args(Device):
        raise InputError(f"device is {device!r}; use one of {', '.join(get_args(Device))}")
    available: list[str] = onnxruntime_module().get_available_providers()
    if providers is not None:
        if isinstance(providers, str) or not providers:
            raise InputError(f"providers is {providers!r}, not a list of names; name at least one, or leave it out")
        strange = [name for name in providers if not isinstance(name, str)]
        if strange:
            raise InputError(f"providers holds {strange[0]!r}; give names alone, such as CPUExecutionProvider")
        missing = [name for name in providers if name not in available]
        if missing:
            raise DeviceError(f"{missing[0]} is not in this onnxruntime, which has {', '.join(available)}")
        known = {provider: name for name, provider in PROVIDERS.items()}
        return known.get(providers[0], "cpu"), list(providers)
    if device == "auto":
        listed = PROVIDERS["cuda"] in available
        device = "cuda" if listed and _has_nvidia_gpu() else "cpu"
        if listed and device == "cpu":
            logger.warning("this onnxruntime has CUDA, but there is no NVIDIA GPU here: running on the CPU")
        logger.info("device auto: %s (onnxruntime has %s)", device, ", ".join(available))
    elif PROVIDERS[device] not in available:
        raise DeviceError(
            f"device {device!r} needs {PROVIDERS[device]}, and this onnxruntime has only {', '.join(available)}: "
            "pip uninstall -y onnxruntime, then pip install 'spladert[gpu]' on a machine with an NVIDIA GPU"
        )
    if device == "tensorrt":  # what TensorRT does not take runs in CUDA
        return device, [PROVIDERS["tensorrt"], PROVIDERS["cuda"], PROVIDERS["cpu"]]
    return device, [PROVIDERS[device]] if device == "cpu" else [PROVIDERS[device], PROVIDERS["cpu"]]


def _has_nvidia_gpu() -> bool:
    """onnxruntime-gpu lists its CUDA provider on machines without a GPU too."""
    return any(Path("/dev").glob("nvidia[0-9]*")) or os.name == "nt"


def choose_variant(manifest: Manifest, device: str, precision: str | None) -> Variant:
    """The bundle's variant for a device: the asked precision, else the best one for the device.

    Raises:
        BundleError: the bundle has no such variant.
    """
    by_kind = {(variant.target, variant.precision): variant for variant in manifest.variants}
    for kind in VARIANTS[device]:
        if kind in by_kind and precision in (None, kind[1]):
            return by_kind[kind]
    have = ", ".join(v.name for v in manifest.variants) or "none"
    what = f"precision {precision!r}" if precision is not None else "variant"
    raise BundleError(f"the bundle has no {what} for {device}, it has {have}; export it again with that precision")


def choose_run(
    manifest: Manifest, device: str, providers: Sequence[str] | None, precision: str | None
) -> tuple[str, list[str], Variant]:
    """The device, its providers and the variant; "auto" takes the CPU where the bundle has nothing for the GPU.

    Raises:
        InputError, DeviceError, BundleError: as `choose_device` and `choose_variant`.
    """
    chosen, names = choose_device(device, providers)
    try:
        return chosen, names, choose_variant(manifest, chosen, precision)
    except BundleError as error:
        if device != "auto" or chosen == "cpu":
            raise
        logger.warning("device auto: running on the CPU: %s", error)
    return "cpu", [PROVIDERS["cpu"]], choose_variant(manifest, "cpu", precision)


def start_session(
    graph: Path,
    device: str,
    providers: list[str],
    threads: int | None,
    provider_options: Mapping[str, Mapping[str, str]] | None = None,
    config: Mapping[str, str] | None = None,
) -> onnxruntime.InferenceSession:
    """An ONNX Runtime session whose first provider is the one asked for; it never falls back, not in a run either.

    Args:
        graph: the ONNX file.
        device: "cpu", "cuda" or "tensorrt".
        providers: ONNX Runtime's providers, first choice first.
        threads: threads of one run; None leaves it to ONNX Runtime.
        provider_options: options of providers, by the provider's name.
        config: session configuration entries.

    Raises:
        BundleError: onnxruntime cannot load the graph.
        DeviceError: the device's provider did not start.
    """
    ort = onnxruntime_module()
    options = ort.SessionOptions()
    options.log_severity_level = 3  # errors; what matters is raised below
    if threads is not None:
        if not isinstance(threads, int) or threads < 1:
            raise InputError(f"threads is {threads!r}; give at least 1, or leave it out")
        options.intra_op_num_threads = threads
    for key, value in (config or {}).items():
        options.add_session_config_entry(key, value)
    with_options = [(name, dict((provider_options or {}).get(name, {}))) for name in providers]
    try:
        session = ort.InferenceSession(str(graph), options, providers=with_options, enable_fallback=0)
    except Exception as error:  # onnxruntime raises a dozen classes of its own, all straight from Exception
        if device != "cpu":
            raise DeviceError(f"{providers[0]} does not start with {graph}: {error}") from error
        raise BundleError(f"onnxruntime cannot load {graph}: {error}") from error
    if session.get_providers()[0] != providers[0]:
        raise DeviceError(
            f"{providers[0]} did not start (onnxruntime fell back to {session.get_providers()[0]}): "
            f"its libraries or its driver are missing for device {device!r}"
        )
    return session
