"""int8 for CPUs: static uint8 activations, int8 weights with a scale per output channel.

Scales are fixed at export, so that a text's vector does not depend on what else is in its batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from ..graph.edit import Floats, initializer, replace_node
from .search import Choice, Grid
from .sites import Linear, Site

# Symmetric, so that no zero point of the weights has to be corrected for. Seven bits, because x86 without VNNI adds two
# products u8 * s8 in 16 bits and saturates (microsoft/onnxruntime#14642): 2 * 255 * 64 = 32,640 still fits, so that
# every CPU computes the same integers.
WEIGHT_LIMIT = 64


@dataclass(frozen=True)
class QuantizedActivation:
    """uint8 integers of an activation with its scale and zero point."""

    integers: ir.Value
    scale: ir.Value
    zero_point: ir.Value


@dataclass(frozen=True)
class QuantizedWeight:
    """A weight [K, N] as int8 integers and float32 scales [N]: weight ~ integers * scales."""

    integers: NDArray[np.int8]
    scales: Floats


def quantize_weight(weight: Floats) -> tuple[NDArray[np.int8], Floats]:
    """int8 [K, N] within `WEIGHT_LIMIT` and its scales float32 [N]: weight ~ integers * scales."""
    scales = np.maximum(np.abs(weight).max(axis=0), 1e-12) / WEIGHT_LIMIT
    integers = np.clip(np.rint(weight / scales), -WEIGHT_LIMIT, WEIGHT_LIMIT).astype(np.int8)
    return integers, scales.astype(np.float32)


def activation_scale(low: float, high: float) -> tuple[float, int]:
    """Scale and zero point of a uint8 range that holds [low, high] and 0 exactly."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = float(np.float32(max(high - low, 1e-8) / 255))
    return scale, int(np.clip(round(-low / scale), 0, 255))


GRID = Grid(0, 255, activation_scale, quantize_weight)


def quantize_linear(linear: Linear) -> QuantizedWeight:
    return QuantizedWeight(*quantize_weight(linear.weight))


def quantize_activation(graph: ir.Graph, site: Site, choice: Choice) -> QuantizedActivation:
    """One QuantizeLinear for the site, ahead of its layers."""
    scale = initializer(graph, f"{site.name}.scale", np.array(choice.scale, np.float32))
    zero_point = initializer(graph, f"{site.name}.zero_point", np.array(choice.zero_point, np.uint8))
    quantize = ir.node("QuantizeLinear", [site.activation, scale, zero_point])
    quantize.outputs[0].name = f"{site.name}.uint8"
    graph.insert_before(site.linears[0].node, quantize)
    return QuantizedActivation(quantize.outputs[0], scale, zero_point)


def replace_linear(graph: ir.Graph, linear: Linear, weight: QuantizedWeight, x: QuantizedActivation) -> None:
    """An integer product in the place of a linear layer."""
    integers = initializer(graph, f"{linear.output}.weight.int8", weight.integers)
    scales = initializer(graph, f"{linear.output}.weight.scale", weight.scales)
    inputs = [x.integers, integers, x.scale, scales, x.zero_point]
    replace_node(graph, linear.node, [ir.node("MatMulIntegerToFloat", inputs, domain="com.microsoft")])
