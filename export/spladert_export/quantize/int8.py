"""int8: static uint8 activations, int8 weights with a scale per output channel, embedding and decoder included.

Scales are fixed at export, so that a text's vector does not depend on what else is in its batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from .calibrate import Observed
from .decoder import QuantizedActivation, Table, quantize_decoder, quantize_embedding
from .edit import add_constant, put_in_place, quantize_weight
from .sites import Floats, Site, find_sites
from .smooth import divide, find_fold, smoothing_factors

STRENGTHS = (None, 0.3, 0.5, 0.65, 0.8)  # SmoothQuant's alpha, None for no smoothing; the least error wins
RANGES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)  # shares of the observed range; the least error wins


@dataclass(frozen=True)
class Choice:
    """How a site is quantized: x ~ (q - zero_point) * scale, q uint8.

    `error` is the relative error |Y' - Y| / |Y| of the layer's outputs on the calibration rows.
    """

    site: str
    strength: float | None
    range: float
    scale: float
    zero_point: int
    error: float
    is_decoder: bool


def quantize_int8(model: ir.Model, observed: dict[str, Observed], keep_fp32: Sequence[str] = ()) -> list[Choice]:
    """Quantize `model` in place and return what was chosen for each site; the sites in `keep_fp32` stay as they are."""
    choices = []
    sites = [site for site in find_sites(model) if site.name not in keep_fp32]
    for site in sites:
        fold = find_fold(site)
        choice, factors = _choose(site, observed[site.name], smoothable=fold is not None)
        if fold is not None and factors is not None:
            divide(model.graph, fold, site, factors)
        choices.append(choice)
    table = quantize_embedding(model.graph)
    for site, choice in zip(sites, choices, strict=True):
        _replace(model.graph, site, choice, table)
    model.opset_imports["com.microsoft"] = 1
    return choices


def settings(choices: Sequence[Choice], keep_fp32: Sequence[str]) -> dict[str, Any]:
    """What the manifest records of a quantization."""
    rescored = any(choice.is_decoder for choice in choices)
    return {
        "activations": "uint8, static, per tensor",
        "weights": "int8, symmetric, per channel",
        "winners": "rescored with float32 activations and 16-bit rows" if rescored else "as selected",
        "kept_fp32": list(keep_fp32),
        "sites": [asdict(choice) for choice in choices],
    }


def _choose(site: Site, observed: Observed, *, smoothable: bool) -> tuple[Choice, Floats | None]:
    weight = np.concatenate([linear.weight for linear in site.linears], axis=1)  # [K, N]
    exact = observed.rows @ weight
    norm = float(np.linalg.norm(exact)) or 1.0
    best: tuple[Choice, Floats | None] | None = None

    def attempt(strength: float | None, share: float) -> tuple[Choice, Floats | None]:
        factors = None if strength is None else smoothing_factors(observed, weight, strength)
        divisor = np.float32(1) if factors is None else factors
        low, high = float((observed.low / divisor).min()), float((observed.high / divisor).max())
        scale, zero_point = activation_scale(low * share, high * share)
        rows = _round_trip(observed.rows / divisor, scale, zero_point)
        integers, scales = quantize_weight(weight if factors is None else weight * factors[:, None])
        error = float(np.linalg.norm(rows @ (integers * scales) - exact)) / norm
        return Choice(site.name, strength, share, scale, zero_point, error, site.is_decoder), factors

    for strength in STRENGTHS if smoothable else (None,):
        candidate = attempt(strength, 1.0)
        best = candidate if best is None or candidate[0].error < best[0].error else best
    assert best is not None
    for share in RANGES[1:]:
        candidate = attempt(best[0].strength, share)
        if candidate[0].error >= best[0].error:
            break
        best = candidate
    return best


def activation_scale(low: float, high: float) -> tuple[float, int]:
    """Scale and zero point of a uint8 range that holds [low, high] and 0 exactly."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = float(np.float32(max(high - low, 1e-8) / 255))
    return scale, int(np.clip(round(-low / scale), 0, 255))


def _round_trip(x: Floats, scale: float, zero_point: int) -> Floats:
    return np.asarray((np.clip(np.rint(x / scale) + zero_point, 0, 255) - zero_point) * scale, dtype=np.float32)


def _replace(graph: ir.Graph, site: Site, choice: Choice, table: Table | None) -> None:
    """One QuantizeLinear for the site, then an integer product for each of its linear layers."""
    name = site.name
    scale = add_constant(graph, f"{name}.scale", np.array(choice.scale, np.float32))
    zero_point = add_constant(graph, f"{name}.zero_point", np.array(choice.zero_point, np.uint8))
    quantize = ir.node("QuantizeLinear", [site.activation, scale, zero_point])
    quantize.outputs[0].name = f"{name}.uint8"
    graph.insert_before(site.linears[0].node, quantize)
    x = QuantizedActivation(quantize.outputs[0], scale, zero_point)
    if site.is_decoder:
        quantize_decoder(graph, site, x, table)
        return
    for linear in site.linears:
        integers, scales = quantize_weight(linear.weight)
        output = str(linear.node.outputs[0].name)
        weight = add_constant(graph, f"{output}.weight.int8", integers)
        factor = add_constant(graph, f"{output}.weight.scale", scales)
        inputs = [x.integers, weight, x.scale, factor, x.zero_point]
        put_in_place(graph, linear.node, [ir.node("MatMulIntegerToFloat", inputs, domain="com.microsoft")])
