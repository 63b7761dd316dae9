"""int8: static uint8 activations, int8 weights with a scale per output channel, embedding and decoder included.

Scales are fixed at export, so that a text's vector does not depend on what else is in its batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray

from .calibrate import Observed
from .sites import Floats, Linear, Site, find_sites
from .smooth import divide, find_fold, smoothing_factors

STRENGTHS = (None, 0.3, 0.5, 0.65, 0.8)  # SmoothQuant's alpha, None for no smoothing; the least error wins
RANGES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)  # shares of the observed range; the least error wins
WEIGHT_LIMIT = 127  # symmetric, so that no zero point of the weights has to be corrected for


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
    rows = _quantize_embedding(model)
    for site, choice in zip(sites, choices, strict=True):
        _replace(model.graph, site, choice, rows)
    model.opset_imports["com.microsoft"] = 1
    return choices


def settings(choices: Sequence[Choice], keep_fp32: Sequence[str]) -> dict[str, Any]:
    """What the manifest records of a quantization."""
    return {
        "activations": "uint8, static, per tensor",
        "weights": "int8, symmetric, per channel",
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
        return Choice(site.name, strength, share, scale, zero_point, error), factors

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


def quantize_weight(weight: Floats) -> tuple[NDArray[np.int8], Floats]:
    """int8 [K, N] and its scales float32 [N]: weight ~ integers * scales."""
    scales = np.maximum(np.abs(weight).max(axis=0), 1e-12) / WEIGHT_LIMIT
    integers = np.clip(np.rint(weight / scales), -WEIGHT_LIMIT, WEIGHT_LIMIT).astype(np.int8)
    return integers, scales.astype(np.float32)


def _round_trip(x: Floats, scale: float, zero_point: int) -> Floats:
    return np.asarray((np.clip(np.rint(x / scale) + zero_point, 0, 255) - zero_point) * scale, dtype=np.float32)


@dataclass(frozen=True)
class _Rows:
    """The embedding's rows as int8 [V, H] with scales float32 [V]: the tied decoder reads the same bytes."""

    original: Floats
    integers: torch.Tensor
    scales: Floats


def _quantize_embedding(model: ir.Model) -> _Rows | None:
    """The token embedding becomes a gather of int8 rows times their scales."""
    graph = model.graph
    ids = graph.inputs[0]
    gather = next((n for n in graph if n.op_type == "Gather" and n.inputs[1] is ids), None)
    if gather is None or gather.inputs[0] is None or gather.inputs[0].const_value is None:
        return None
    original = gather.inputs[0].const_value.numpy()
    integers, scales = quantize_weight(original.T)
    rows = _Rows(original, torch.from_numpy(np.ascontiguousarray(integers.T)), scales)
    name = str(gather.inputs[0].name)
    table = _constant(graph, f"{name}.int8", rows.integers)
    factor = _constant(graph, f"{name}.scale", scales[:, None])
    picked, factors = ir.node("Gather", [table, ids]), ir.node("Gather", [factor, ids])
    cast = ir.node("Cast", picked.outputs, {"to": ir.DataType.FLOAT})
    product = ir.node("Mul", [cast.outputs[0], factors.outputs[0]])
    _put(graph, gather, [picked, factors, cast, product])
    return rows


def _replace(graph: ir.Graph, site: Site, choice: Choice, rows: _Rows | None) -> None:
    """One QuantizeLinear for the site, then an integer product for each of its linear layers."""
    name = site.name
    scale = _constant(graph, f"{name}.scale", np.array(choice.scale, np.float32))
    zero_point = _constant(graph, f"{name}.zero_point", np.array(choice.zero_point, np.uint8))
    quantize = ir.node("QuantizeLinear", [site.activation, scale, zero_point])
    quantize.outputs[0].name = f"{name}.uint8"
    graph.insert_before(site.linears[0].node, quantize)
    start = 0
    for linear in site.linears:
        if linear.node.op_type == "Gemm":
            product, start = _decoder_tile(graph, linear, quantize.outputs[0], scale, zero_point, rows, start)
        else:
            product = _product(graph, linear, quantize.outputs[0], scale, zero_point)
        _put(graph, linear.node, [product])


def _product(graph: ir.Graph, linear: Linear, x: ir.Value, scale: ir.Value, zero_point: ir.Value) -> ir.Node:
    integers, scales = quantize_weight(linear.weight)
    name = str(linear.node.outputs[0].name)
    weight = _constant(graph, f"{name}.weight.int8", integers)
    factor = _constant(graph, f"{name}.weight.scale", scales)
    inputs = [x, weight, scale, factor, zero_point]
    return ir.node("MatMulIntegerToFloat", inputs, domain="com.microsoft")


def _decoder_tile(
    graph: ir.Graph,
    linear: Linear,
    x: ir.Value,
    scale: ir.Value,
    zero_point: ir.Value,
    rows: _Rows | None,
    start: int,
) -> tuple[ir.Node, int]:
    """QGemm with transB reads the decoder's rows as they lie; a tied tile is a view of the embedding's int8 rows."""
    name = str(linear.node.outputs[0].name)
    tile = linear.weight.T  # [rows of the tile, H]
    stop = start + len(tile)
    if rows is not None and np.array_equal(rows.original[start:stop], tile):
        integers, scales = rows.integers[start:stop], rows.scales[start:stop]
    else:
        fresh, scales = quantize_weight(tile.T)
        integers = torch.from_numpy(np.ascontiguousarray(fresh.T))
    weight = _constant(graph, f"{name}.weight.int8", integers)
    factor = _constant(graph, f"{name}.weight.scale", scales)
    zeros = _constant(graph, f"{name}.weight.zero_point", np.zeros(len(tile), np.int8))
    inputs = [x, scale, zero_point, weight, factor, zeros]
    return ir.node("QGemm", inputs, {"transB": 1}, domain="com.microsoft"), stop


def _constant(graph: ir.Graph, name: str, data: NDArray[Any] | torch.Tensor) -> ir.Value:
    tensor: ir.TensorProtocol
    if isinstance(data, torch.Tensor):  # keeps its storage, which the writer shares between views
        tensor = ir.tensor_adapters.TorchTensor(data, name=name)
    else:
        tensor = ir.tensor(data, name=name)
    value = ir.Value(name=name, shape=ir.Shape(data.shape), type=ir.TensorType(tensor.dtype), const_value=tensor)
    graph.register_initializer(value)
    return value


def _put(graph: ir.Graph, old: ir.Node, new: Sequence[ir.Node]) -> None:
    """Put `new` in the place of `old`; the last one makes its output."""
    result, output = new[-1].outputs[0], old.outputs[0]
    result.shape, result.type = output.shape, output.type
    for number, node in enumerate(new):
        node.outputs[0].name = f"{output.name}.int8.{number}"
        graph.insert_before(old, node)
    ir.convenience.replace_all_uses_with(output, result)
    graph.remove(old, safe=True)
