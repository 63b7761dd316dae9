"""int8 for TensorRT: QuantizeLinear and DequantizeLinear around the encoder's products, symmetric in both operands.

TensorRT takes zero points of 0 alone, one scale for an activation and one a channel for a weight (TensorRT, explicit
quantization). The calibration, the layers and the folds of SmoothQuant are those of the CPU's int8 variant. The
decoder stays fp16: its products choose the winners, and TensorRT has no pattern for scoring them again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from ..lower.edit import constant
from .calibrate import Observed
from .search import least_error
from .sites import Floats, Site, find_sites
from .smooth import divide, find_fold, smoothing_factors

LIMIT = 127  # of an int8, symmetric
SMALLEST_SCALE = 2.0**-14  # the smallest normal fp16 number: scales are fp16 in the end


@dataclass(frozen=True)
class Choice:
    """How a site is quantized: x ~ q * scale, q int8; `error` is |Y' - Y| / |Y| of its layers on calibration rows."""

    site: str
    strength: float | None
    range: float
    scale: float
    error: float


def insert_qdq(model: ir.Model, observed: dict[str, Observed], keep: Sequence[str] = ()) -> list[Choice]:
    """Quantize the fp32 graph in place, all but the decoder and the sites in `keep`; returns what was chosen."""
    choices = []
    sites = [site for site in find_sites(model) if not site.is_decoder and site.name not in keep]
    for site in sites:
        fold = find_fold(site)
        choice, factors = _choose(site, observed[site.name], smoothable=fold is not None)
        if fold is not None and factors is not None:
            divide(model.graph, fold, site, factors)
        choices.append(choice)
    for site, choice in zip(sites, choices, strict=True):
        _insert(model.graph, site, choice.scale)
    return choices


def settings(choices: Sequence[Choice], keep: Sequence[str]) -> dict[str, Any]:
    """What the manifest records of the quantization."""
    return {
        "activations": "int8, static, symmetric, per tensor",
        "weights": "int8, symmetric, per channel",
        "kept_fp16": [*keep, "decoder"],
        "sites": [asdict(choice) for choice in choices],
    }


def quantize_weight(weight: Floats) -> tuple[NDArray[np.int8], NDArray[np.float16]]:
    """int8 [K, N] and its scales [N], exact in fp16: weight ~ integers * scales."""
    wanted = np.maximum(np.abs(weight).max(axis=0) / LIMIT, SMALLEST_SCALE)
    scales = wanted.astype(np.float16)
    short = scales.astype(np.float32) < wanted
    scales[short] = np.nextafter(scales[short], np.float16(np.inf))
    return np.rint(weight / scales.astype(np.float32)).astype(np.int8), scales


def _choose(site: Site, observed: Observed, *, smoothable: bool) -> tuple[Choice, Floats | None]:
    weight = np.concatenate([linear.weight for linear in site.linears], axis=1)  # [K, N]
    exact = observed.rows @ weight
    norm = float(np.linalg.norm(exact)) or 1.0

    def attempt(strength: float | None, share: float) -> tuple[Choice, Floats | None]:
        factors = None if strength is None else smoothing_factors(observed, weight, strength)
        divisor = np.float32(1) if factors is None else factors
        reach = float((np.maximum(np.abs(observed.low), np.abs(observed.high)) / divisor).max())
        scale = float(np.float16(max(reach * share / LIMIT, SMALLEST_SCALE)))
        rows = np.clip(np.rint(observed.rows / divisor / scale), -LIMIT - 1, LIMIT) * scale
        integers, scales = quantize_weight(weight if factors is None else weight * factors[:, None])
        error = float(np.linalg.norm(rows @ (integers * scales.astype(np.float32)) - exact)) / norm
        return Choice(site.name, strength, share, scale, error), factors

    return least_error(attempt, smoothable=smoothable)


def _insert(graph: ir.Graph, site: Site, scale: float) -> None:
    name, source = site.name, site.activation
    zero = constant(graph, "qdq.zero", np.zeros((), np.int8))
    step = constant(graph, f"{name}.scale", np.array(scale, np.float32))
    down = ir.node("QuantizeLinear", [source, step, zero])
    up = ir.node("DequantizeLinear", [down.outputs[0], step, zero])
    _describe(down.outputs[0], f"{name}.int8", source.shape, ir.DataType.INT8)
    _describe(up.outputs[0], f"{name}.qdq", source.shape, ir.DataType.FLOAT)
    graph.insert_before(site.linears[0].node, [down, up])
    for linear in site.linears:
        integers, scales = quantize_weight(linear.weight)
        output = linear.node.outputs[0].name
        weight = ir.node(
            "DequantizeLinear",
            [
                constant(graph, f"{output}.weight.int8", integers),
                constant(graph, f"{output}.weight.scale", scales.astype(np.float32)),
                constant(graph, f"{output}.weight.zero", np.zeros(scales.shape, np.int8)),
            ],
            {"axis": 1},
        )
        _describe(weight.outputs[0], f"{output}.weight.qdq", ir.Shape(integers.shape), ir.DataType.FLOAT)
        graph.insert_before(linear.node, weight)
        linear.node.replace_input_with(0, up.outputs[0])
        linear.node.replace_input_with(1, weight.outputs[0])


def _describe(value: ir.Value, name: str, shape: ir.Shape | None, kind: ir.DataType) -> None:
    value.name, value.shape, value.type = name, shape, ir.TensorType(kind)
