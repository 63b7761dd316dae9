"""Running a graph: where, with which variant, and on what; the only room that knows a CPU from a GPU."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from ..bundle import Bundle, Manifest
from ..errors import DeviceError
from . import cpu
from .base import Engine, RuntimeOptions
from .placement import Device, Machine, Placement, PlacementRequest, candidates, make_request, this_machine

__all__ = [
    "Device",
    "Engine",
    "Machine",
    "Placement",
    "PlacementRequest",
    "RuntimeOptions",
    "candidates",
    "make_request",
    "start_engine",
    "start_first",
    "this_machine",
]

logger = logging.getLogger("spladert")

Starter = Callable[[Path, Manifest, Placement, RuntimeOptions], Engine]


def start_first(bundle: Bundle, placements: Sequence[Placement], options: RuntimeOptions) -> tuple[Placement, Engine]:
    """The first of the placements that starts, and its engine; one that does not is told in a warning.

    Raises:
        DeviceError: the last one does not start either.
        BundleError: a file of the bundle is missing or altered, or its graph cannot be loaded.
    """
    *others, last = placements
    for placement in others:
        try:
            return placement, start_engine(bundle, placement, options)
        except DeviceError as error:
            logger.warning("device auto: %s does not start: %s", placement.device, error)
    return last, start_engine(bundle, last, options)


def start_engine(bundle: Bundle, placement: Placement, options: RuntimeOptions) -> Engine:
    """An engine for a placement; the variant's files are checked meanwhile.

    Raises:
        DeviceError, BundleError: as `start_first`.
    """
    start = _starter(placement.device)
    with bundle.checking(placement.variant) as graph:
        return start(graph, bundle.manifest, placement, options)


def _starter(device: str) -> Starter:
    if device == "cuda":
        from . import cuda

        return cuda.start
    if device == "tensorrt":
        from . import tensorrt

        return tensorrt.start
    return cpu.start
