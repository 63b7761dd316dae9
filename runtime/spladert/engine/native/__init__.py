"""The compiled int8 engine over the bundle's own cpu-int8 graph: what of a graph it covers, and running it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from ...bundle import Manifest
from ...errors import DeviceError
from ...version import __version__
from ..base import RuntimeOptions
from .describe import describe
from .description import NotCoveredError
from .engine import NativeEngine
from .graph import read_graph

__all__ = ["NativeEngine", "UnavailableError", "start"]

logger = logging.getLogger("spladert")


class UnavailableError(Exception):
    """Why the compiled engine does not run; `level` is that of a log message about it."""

    def __init__(self, reason: str, level: int = logging.INFO) -> None:
        super().__init__(reason)
        self.level = level


def start(graph: Path, manifest: Manifest, options: RuntimeOptions, isa: str | None) -> NativeEngine:
    """The compiled engine over the graph at a path, with the instruction set `isa` or, None, the best that runs here.

    Raises:
        UnavailableError: it is not installed, does not cover the graph, or does not start.
        BundleError: the graph is damaged.
    """
    abi, library = _kernels()
    read = read_graph(graph)
    try:
        encoder = describe(read)
    except NotCoveredError as error:
        raise UnavailableError(f"the compiled engine does not cover it: {error}") from None
    threads = options.thread_count() or 0
    if options.threads is None:
        threads = min(threads or library.spladert_default_threads(), library.spladert_default_threads())
    try:
        engine = NativeEngine(
            abi,
            library,
            encoder,
            read.mappings,
            max_length=manifest.max_length,
            isa=isa,
            threads=threads,
            spin=options.spin,
        )
    except DeviceError as error:
        raise UnavailableError(str(error), logging.WARNING) from None
    better = "; ".join(f"not {name}: {reason}" for name, reason in _better(library, engine.isa))
    engine.runs_on = f"the compiled engine with {engine.isa}" + (f" ({better})" if better and isa is None else "")
    logger.info("cpu-int8 runs on %s", engine.runs_on)
    return engine


def _kernels() -> tuple[Any, Any]:
    """The C interface's module and its library, of this version of spladert."""
    try:
        import spladert_kernels
        from spladert_kernels import abi
    except ImportError:
        raise UnavailableError("spladert-kernels is not installed (pip install 'spladert[native]')") from None
    if spladert_kernels.__version__ != __version__:
        raise UnavailableError(
            f"spladert-kernels {spladert_kernels.__version__} is not for spladert {__version__}; install its version",
            logging.WARNING,
        )
    try:
        return abi, abi.load_library()
    except OSError as error:
        raise UnavailableError(str(error), logging.WARNING) from None


def _better(library: Any, isa: str) -> list[tuple[str, str]]:
    """Instruction sets that are better than the one in use, and why they do not run here."""
    found = []
    for number in range(16):
        name = library.spladert_isa_name(number)
        if name is None or name.decode() == isa:
            break
        reason = library.spladert_isa_missing(number)
        found.append((name.decode(), reason.decode() if reason else "not chosen"))
    return found
