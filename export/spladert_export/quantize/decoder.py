"""The vocabulary in int8: one table of rows for the embedding and the decoder, and exact weights for the winners.

A row is `scale * (high + low / 256)` with `high` and `low` int8, 15 bits in all. The decoder's integer products read
`high` alone and only choose the k winners. Their logits are then computed once more from the float32 hidden states and
the whole rows: k of V rows cost little (256 of 50,000 are 0.5%), and the error of the decoder, by far the largest of
the graph, is gone from the weights. The embedding reads whole rows too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
import torch

from .edit import add_constant, put_in_place, quantize_weight
from .sites import Floats, Site

LOW_STEPS = 256  # `low` counts in this part of a step of `high`


@dataclass(frozen=True)
class Table:
    """Vocabulary rows [V, H]: in float32, as int8 `high` and `low`, and the scale of each row, float32 [V]."""

    original: Floats
    high: torch.Tensor
    scales: Floats
    high_value: ir.Value
    low_value: ir.Value


@dataclass(frozen=True)
class QuantizedActivation:
    """uint8 integers of an activation with its scale and zero point."""

    integers: ir.Value
    scale: ir.Value
    zero_point: ir.Value


def _add_table(graph: ir.Graph, name: str, rows: Floats) -> Table:
    integers, scales = quantize_weight(rows.T)
    rest = rows / scales[:, None] - integers.T
    low = np.clip(np.rint(rest * LOW_STEPS), -127, 127).astype(np.int8)
    high = torch.from_numpy(np.ascontiguousarray(integers.T))  # a storage that the writer shares between views
    return Table(rows, high, scales, add_constant(graph, f"{name}.high", high), add_constant(graph, f"{name}.low", low))


def quantize_embedding(graph: ir.Graph) -> Table | None:
    """The token embedding becomes a gather of int8 rows times their scales; None where there is no such gather."""
    ids = graph.inputs[0]
    gather = next((n for n in graph if n.op_type == "Gather" and n.inputs[1] is ids), None)
    if gather is None or gather.inputs[0] is None or gather.inputs[0].const_value is None:
        return None
    name = str(gather.inputs[0].name)
    table = _add_table(graph, name, gather.inputs[0].const_value.numpy())
    scales = add_constant(graph, f"{name}.row_scale", table.scales[:, None])
    rows, factors = _gather_rows(graph, table, ids, name), ir.node("Gather", [scales, ids])
    put_in_place(graph, gather, [*rows, factors, ir.node("Mul", [rows[-1].outputs[0], factors.outputs[0]])])
    return table


def _gather_rows(graph: ir.Graph, table: Table, ids: ir.Value, name: str) -> list[ir.Node]:
    """Nodes whose last one gives the rows `ids` of the table in float32, without their scales."""
    step = add_constant(graph, f"{name}.low_step", np.array(1 / LOW_STEPS, np.float32))
    high, low = ir.node("Gather", [table.high_value, ids]), ir.node("Gather", [table.low_value, ids])
    whole = ir.node("Cast", high.outputs, {"to": ir.DataType.FLOAT})
    rest = ir.node("DequantizeLinear", [low.outputs[0], step])
    return [high, low, whole, rest, ir.node("Add", [whole.outputs[0], rest.outputs[0]])]


def quantize_decoder(graph: ir.Graph, site: Site, x: QuantizedActivation, embedding: Table | None) -> None:
    """The decoder's tiles become QGemm, which reads rows as they lie (transB); then the winners are rescored."""
    tiles = [linear.weight.T for linear in site.linears]  # [rows of the tile, H]
    rows = np.concatenate(tiles)
    tied = embedding is not None and np.array_equal(embedding.original, rows)
    table = embedding if embedding is not None and tied else _add_table(graph, "decoder", rows)
    start = 0
    for linear, tile in zip(site.linears, tiles, strict=True):
        stop, name = start + len(tile), str(linear.node.outputs[0].name)
        weight = add_constant(graph, f"{name}.weight.int8", table.high[start:stop])
        scale = add_constant(graph, f"{name}.weight.scale", table.scales[start:stop])
        zeros = add_constant(graph, f"{name}.weight.zero_point", np.zeros(len(tile), np.int8))
        inputs = [x.integers, x.scale, x.zero_point, weight, scale, zeros]
        put_in_place(graph, linear.node, [ir.node("QGemm", inputs, {"transB": 1}, domain="com.microsoft")])
        start = stop
    _rescore(graph, table, _hidden_states(site))


def _hidden_states(site: Site) -> ir.Value:
    """The [B, S, H] value whose transposed rows the decoder reads."""
    reshape = site.activation.producer()
    transpose = reshape.inputs[0].producer() if reshape is not None and reshape.inputs[0] is not None else None
    assert transpose is not None
    assert transpose.op_type == "Transpose"
    hidden = transpose.inputs[0]
    assert hidden is not None
    return hidden


def _rescore(graph: ir.Graph, table: Table, hidden: ir.Value) -> None:
    """Logits of the k winners, [B, k], from float32 hidden states; then they are sorted again."""
    select = next(node for node in graph if node.op_type == "TopK")
    values, winners = select.outputs
    biased = select.inputs[0].producer() if select.inputs[0] is not None else None
    assert biased is not None
    bias = next(value for value in biased.inputs if value is not None and value.const_value is not None)
    scales = add_constant(graph, "winners.scale", table.scales)
    rows = _gather_rows(graph, table, winners, "winners")  # [B, k, H]
    products = ir.node("FusedMatMul", [rows[-1].outputs[0], hidden], {"transB": 1}, domain="com.microsoft")  # [B, k, S]
    last = add_constant(graph, "winners.axis", np.array([-1], np.int64))
    pooled = ir.node("ReduceMax", [products.outputs[0], last], {"keepdims": 0})  # [B, k]
    factors, biases = ir.node("Gather", [scales, winners]), ir.node("Gather", [bias, winners])
    scaled = ir.node("Mul", [pooled.outputs[0], factors.outputs[0]])
    logits = ir.node("Add", [scaled.outputs[0], biases.outputs[0]])
    count = select.inputs[1]
    order = ir.node("TopK", [logits.outputs[0], count], num_outputs=2)
    indices = ir.node("GatherElements", [winners, order.outputs[1]], {"axis": 1})
    nodes = [*rows, products, pooled, factors, biases, scaled, logits, order, indices]
    users = [(use.node, use.idx, old) for old in (values, winners) for use in old.uses() if use.node not in nodes]
    graph.insert_after(select, nodes)
    for number, node in enumerate(nodes):
        for output in node.outputs:
            output.name = f"winners.{number}.{output.index()}"
    for node, index, old in users:
        node.replace_input_with(index, order.outputs[0] if old is values else indices.outputs[0])
