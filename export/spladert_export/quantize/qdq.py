"""int8 for TensorRT: QuantizeLinear and DequantizeLinear around the encoder's products, symmetric in both operands.

TensorRT takes zero points of 0 alone, one scale for an activation and one a channel for a weight (TensorRT, explicit
quantization). The calibration, the layers and the folds of SmoothQuant are those of the CPU's int8 variant. The
decoder stays fp16: its products choose the winners, and TensorRT has no pattern for scoring them again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from ..graph.edit import Floats, describe, initializer
from .search import Choice, Grid
from .sites import Linear, Site

LIMIT = 127  # of an int8, symmetric
SMALLEST_SCALE = 2.0**-14  # the smallest normal fp16 number: scales are fp16 in the end


@dataclass(frozen=True)
class QuantizedWeight:
    """A weight [K, N] as int8 integers and fp16 scales [N]: weight ~ integers * scales."""

    integers: NDArray[np.int8]
    scales: NDArray[np.float16]


def activation_scale(low: float, high: float) -> tuple[float, int]:
    """A scale, exact in fp16, for integers around a zero point of 0."""
    return float(np.float16(max(-low, high, SMALLEST_SCALE * LIMIT) / LIMIT)), 0


def quantize_weight(weight: Floats) -> tuple[NDArray[np.int8], NDArray[np.float16]]:
    """int8 [K, N] and its scales [N], exact in fp16: weight ~ integers * scales."""
    wanted = np.maximum(np.abs(weight).max(axis=0) / LIMIT, SMALLEST_SCALE)
    scales = wanted.astype(np.float16)
    short = scales.astype(np.float32) < wanted
    scales[short] = np.nextafter(scales[short], np.float16(np.inf))
    return np.rint(weight / scales.astype(np.float32)).astype(np.int8), scales


GRID = Grid(-LIMIT - 1, LIMIT, activation_scale, quantize_weight)


def quantize_linear(linear: Linear) -> QuantizedWeight:
    return QuantizedWeight(*quantize_weight(linear.weight))


def dequantized_name(site: Site) -> str:
    """The name of the site's activation after it went through int8."""
    return f"{site.name}.qdq"


def insert_qdq(graph: ir.Graph, site: Site, choice: Choice, weights: Sequence[QuantizedWeight]) -> None:
    """Put a pair before the site's activation and a DequantizeLinear before each of its layers' weights."""
    name, source = site.name, site.activation
    zero = initializer(graph, "qdq.zero", np.zeros((), np.int8))
    step = initializer(graph, f"{name}.scale", np.array(choice.scale, np.float32))
    down = ir.node("QuantizeLinear", [source, step, zero])
    up = ir.node("DequantizeLinear", [down.outputs[0], step, zero])
    describe(down.outputs[0], f"{name}.int8", ir.DataType.INT8, source.shape)
    describe(up.outputs[0], dequantized_name(site), ir.DataType.FLOAT, source.shape)
    graph.insert_before(site.linears[0].node, [down, up])
    for linear, weight in zip(site.linears, weights, strict=True):
        constants = [
            initializer(graph, f"{linear.output}.weight.int8", weight.integers),
            initializer(graph, f"{linear.output}.weight.scale", weight.scales.astype(np.float32)),
            initializer(graph, f"{linear.output}.weight.zero", np.zeros(weight.scales.shape, np.int8)),
        ]
        product = ir.node("DequantizeLinear", constants, {"axis": 1})
        describe(product.outputs[0], f"{linear.output}.weight.qdq", ir.DataType.FLOAT, ir.Shape(weight.integers.shape))
        graph.insert_before(linear.node, product)
        linear.node.replace_input_with(0, up.outputs[0])
        linear.node.replace_input_with(1, product.outputs[0])
