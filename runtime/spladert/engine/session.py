"""ONNX Runtime itself: its module, and sessions that run where they were asked to or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import BundleError, DependencyError, DeviceError
from .base import RuntimeOptions

if TYPE_CHECKING:
    import onnxruntime

CPU = "CPUExecutionProvider"
PROVIDER_FILES = "capi/*onnxruntime_providers_*"  # "lib" before it but on Windows


def onnxruntime_module() -> Any:
    """The onnxruntime module.

    Raises:
        DependencyError: none is installed, or both distributions are, which overwrite each other.
    """
    _package_folder()
    try:
        import onnxruntime
    except ImportError as error:
        raise _not_installed(str(error)) from error
    return onnxruntime


def available_providers() -> tuple[str, ...]:
    """ONNX Runtime's own list of its providers, or the CPU's alone where no other one's library lies beside it.

    An import of onnxruntime takes longer than a start of the compiled engine, which does not need it.

    Raises:
        DependencyError: as `onnxruntime_module`.
    """
    libraries = {file.stem.rpartition("onnxruntime_providers_")[2] for file in _package_folder().glob(PROVIDER_FILES)}
    if libraries <= {"shared"}:
        return (CPU,)
    return tuple(onnxruntime_module().get_available_providers())


def _package_folder() -> Path:
    """Where the one installed onnxruntime lies, found without importing it."""
    spec = find_spec("onnxruntime")
    if spec is None or spec.origin is None:
        raise _not_installed("No module named 'onnxruntime'")
    folder = Path(spec.origin).parent
    installed = {path.name.partition("-")[0] for path in folder.parent.glob("onnxruntime*.dist-info")}
    if installed >= {"onnxruntime", "onnxruntime_gpu"}:
        raise DependencyError(
            "onnxruntime and onnxruntime-gpu are both installed and overwrite each other: pip uninstall -y onnxruntime "
            "onnxruntime-gpu, then pip install 'spladert[cpu]' or 'spladert[gpu]'"
        )
    return folder


def _not_installed(reason: str) -> DependencyError:
    return DependencyError(
        f"onnxruntime cannot be imported ({reason}): pip install 'spladert[cpu]', or 'spladert[gpu]' for CUDA"
    )


def start_session(
    graph: Path,
    providers: Sequence[str] = (CPU,),
    options: RuntimeOptions | None = None,
    *,
    provider_options: Mapping[str, str] | None = None,
    config: Mapping[str, str] | None = None,
) -> onnxruntime.InferenceSession:
    """An ONNX Runtime session whose first provider is the one asked for; it never falls back, not in a run either.

    Args:
        graph: the ONNX file.
        providers: ONNX Runtime's providers, first choice first.
        options: threads and their spinning; None is ONNX Runtime's own choice.
        provider_options: options of the first provider.
        config: session configuration entries.

    Raises:
        BundleError: onnxruntime cannot load the graph.
        DeviceError: the first provider did not start.
    """
    ort = onnxruntime_module()
    settings = ort.SessionOptions()
    settings.log_severity_level = 3  # errors; what matters is raised below
    if options is not None:
        settings.intra_op_num_threads = options.thread_count() or 0
        settings.add_session_config_entry("session.intra_op.allow_spinning", "1" if options.spin else "0")
    for key, value in (config or {}).items():
        settings.add_session_config_entry(key, value)
    first, *rest = providers
    with_options = [(first, dict(provider_options or {})), *((name, {}) for name in rest)]
    try:
        session = ort.InferenceSession(str(graph), settings, providers=with_options, enable_fallback=0)
    except Exception as error:  # onnxruntime raises a dozen classes of its own, all straight from Exception
        if first != CPU:
            raise DeviceError(f"{first} does not start with {graph}: {error}") from error
        raise BundleError(f"onnxruntime cannot load {graph}: {error}") from error
    if session.get_providers()[0] != first:
        raise DeviceError(
            f"{first} did not start (onnxruntime fell back to {session.get_providers()[0]}): its libraries or its "
            "driver are missing"
        )
    return session
