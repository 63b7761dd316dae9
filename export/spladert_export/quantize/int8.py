"""int8: static uint8 activations, int8 weights with a scale per output channel, embedding and decoder included.

Scales are fixed at export, so that a text's vector does not depend on what else is in its batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from .calibrate import Observed
from .edit import QuantizedActivation, add_constant, put_in_place, quantize_weight
from .search import least_error
from .sites import Floats, Site
from .smooth import smoothing_factors


@dataclass(frozen=True)
class Int8Choice:
    """How a site is quantized: x ~ (q - zero_point) * scale, q uint8.

    `error` is the relative error |Y' - Y| / |Y| of the layer's outputs on the calibration rows.
    """

    site: str
    strength: float | None
    range: float
    scale: float
    zero_point: int
    error: float


def choose_int8(site: Site, observed: Observed, *, smoothable: bool) -> tuple[Int8Choice, Floats | None]:
    """The smoothing and range with the least error of the site's outputs, and the smoothing's factors."""
    weight = np.concatenate([linear.weight for linear in site.linears], axis=1)  # [K, N]
    exact = observed.rows @ weight
    norm = float(np.linalg.norm(exact)) or 1.0

    def attempt(strength: float | None, share: float) -> tuple[Int8Choice, Floats | None]:
        factors = None if strength is None else smoothing_factors(observed, weight, strength)
        divisor = np.float32(1) if factors is None else factors
        low, high = float((observed.low / divisor).min()), float((observed.high / divisor).max())
        scale, zero_point = activation_scale(low * share, high * share)
        rows = _round_trip(observed.rows / divisor, scale, zero_point)
        integers, scales = quantize_weight(weight if factors is None else weight * factors[:, None])
        error = float(np.linalg.norm(rows @ (integers * scales) - exact)) / norm
        return Int8Choice(site.name, strength, share, scale, zero_point, error), factors

    return least_error(attempt, smoothable=smoothable)


def activation_scale(low: float, high: float) -> tuple[float, int]:
    """Scale and zero point of a uint8 range that holds [low, high] and 0 exactly."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = float(np.float32(max(high - low, 1e-8) / 255))
    return scale, int(np.clip(round(-low / scale), 0, 255))


def _round_trip(x: Floats, scale: float, zero_point: int) -> Floats:
    return np.asarray((np.clip(np.rint(x / scale) + zero_point, 0, 255) - zero_point) * scale, dtype=np.float32)


def quantize_activation(graph: ir.Graph, site: Site, choice: Int8Choice) -> QuantizedActivation:
    """One QuantizeLinear for the site, ahead of its layers."""
    name = site.name
    scale = add_constant(graph, f"{name}.scale", np.array(choice.scale, np.float32))
    zero_point = add_constant(graph, f"{name}.zero_point", np.array(choice.zero_point, np.uint8))
    quantize = ir.node("QuantizeLinear", [site.activation, scale, zero_point])
    quantize.outputs[0].name = f"{name}.uint8"
    graph.insert_before(site.linears[0].node, quantize)
    return QuantizedActivation(quantize.outputs[0], scale, zero_point)


def replace_int8(graph: ir.Graph, site: Site, choice: Int8Choice) -> None:
    """An integer product in the place of each of the site's linear layers."""
    x = quantize_activation(graph, site, choice)
    for linear in site.linears:
        integers, scales = quantize_weight(linear.weight)
        output = str(linear.node.outputs[0].name)
        weight = add_constant(graph, f"{output}.weight.int8", integers)
        factor = add_constant(graph, f"{output}.weight.scale", scales)
        inputs = [x.integers, weight, x.scale, factor, x.zero_point]
        put_in_place(graph, linear.node, [ir.node("MatMulIntegerToFloat", inputs, domain="com.microsoft")])
