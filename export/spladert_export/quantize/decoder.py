"""The vocabulary in int8: one table of rows for the embedding and the decoder, and exact weights for the winners.

A row is `scale * (high + low / 256)` with `high` and `low` int8, 15 bits in all; int4 leaves `low` out. The decoder's
integer products read `high` alone and only choose the k winners. Their logits are then computed once more from the
float32 hidden states and the whole rows: k of V rows cost little (256 of 50,000 are 0.5%), and the error of the
decoder, by far the largest of the graph, is gone from the weights. The embedding reads whole rows too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray

from ..graph.edit import Floats, initializer, replace_node
from ..graph.find import array, decoder_bias, embedding_gather, hidden_states, is_tied, selection
from .int8 import QuantizedActivation, quantize_weight
from .sites import Site

LOW_STEPS = 256  # `low` counts in this part of a step of `high`


@dataclass(frozen=True)
class Table:
    """Vocabulary rows [V, H] as int8 `high` and maybe `low`, and the scale of each row, float32 [V]."""

    name: str
    high: torch.Tensor
    low: NDArray[np.int8] | None
    scales: Floats


@dataclass(frozen=True)
class Vocabulary:
    """The tables of the embedding, None where there is no gather of rows, and of the decoder; one if they are tied."""

    embedding: Table | None
    decoder: Table


def quantize_vocabulary(model: ir.Model, decoder: Site, *, with_low: bool) -> Vocabulary:
    """The tables of an fp32 graph, which stays as it is."""
    rows = np.concatenate([linear.weight.T for linear in decoder.linears])
    gather = embedding_gather(model.graph)
    if gather is None:
        return Vocabulary(None, _make_table("decoder", rows, with_low=with_low))
    weight = gather.inputs[0]
    assert weight is not None
    table = _make_table(str(weight.name), array(weight), with_low=with_low)
    tied = is_tied(array(weight), rows)
    return Vocabulary(table, table if tied else _make_table("decoder", rows, with_low=with_low))


def _make_table(name: str, rows: Floats, *, with_low: bool) -> Table:
    integers, scales = quantize_weight(rows.T)
    high = np.ascontiguousarray(integers.T)
    low = None
    if with_low:
        rest = rows / scales[:, None] - high
        low = np.clip(np.rint(rest * LOW_STEPS), -127, 127).astype(np.int8)
    return Table(name, torch.from_numpy(high), low, scales)  # the writer shares its storage between views


def replace_embedding(graph: ir.Graph, table: Table) -> None:
    """The token embedding becomes a gather of int8 rows times their scales."""
    ids, gather = graph.inputs[0], embedding_gather(graph)
    assert gather is not None
    scales = initializer(graph, f"{table.name}.row_scale", table.scales[:, None])
    rows, factors = _gather_rows(graph, table, ids, table.name), ir.node("Gather", [scales, ids])
    replace_node(graph, gather, [*rows, factors, ir.node("Mul", [rows[-1].outputs[0], factors.outputs[0]])])


def _gather_rows(graph: ir.Graph, table: Table, ids: ir.Value, name: str) -> list[ir.Node]:
    """Nodes whose last one gives the rows `ids` of the table in float32, without their scales."""
    high = ir.node("Gather", [initializer(graph, f"{table.name}.high", table.high), ids])
    whole = ir.node("Cast", high.outputs, {"to": ir.DataType.FLOAT})
    if table.low is None:
        return [high, whole]
    step = initializer(graph, f"{name}.low_step", np.array(1 / LOW_STEPS, np.float32))
    low = ir.node("Gather", [initializer(graph, f"{table.name}.low", table.low), ids])
    rest = ir.node("DequantizeLinear", [low.outputs[0], step])
    return [high, whole, low, rest, ir.node("Add", [whole.outputs[0], rest.outputs[0]])]


def replace_decoder(graph: ir.Graph, site: Site, x: QuantizedActivation, table: Table) -> None:
    """The decoder's tiles become QGemm, which reads rows as they lie (transB); then the winners are rescored."""
    start = 0
    for linear in site.linears:
        stop = start + linear.weight.shape[1]
        weight = initializer(graph, f"{linear.output}.weight.int8", table.high[start:stop])
        scale = initializer(graph, f"{linear.output}.weight.scale", table.scales[start:stop])
        zeros = initializer(graph, f"{linear.output}.weight.zero_point", np.zeros(stop - start, np.int8))
        inputs = [x.integers, x.scale, x.zero_point, weight, scale, zeros]
        replace_node(graph, linear.node, [ir.node("QGemm", inputs, {"transB": 1}, domain="com.microsoft")])
        start = stop
    _rescore(graph, table, hidden_states(site.activation))


def _rescore(graph: ir.Graph, table: Table, hidden: ir.Value) -> None:
    """Logits of the k winners, [B, k], from float32 hidden states; then they are sorted again."""
    select, bias = selection(graph), decoder_bias(graph)
    values, winners = select.outputs
    scales = initializer(graph, "winners.scale", table.scales)
    rows = _gather_rows(graph, table, winners, "winners")  # [B, k, H]
    products = ir.node("FusedMatMul", [rows[-1].outputs[0], hidden], {"transB": 1}, domain="com.microsoft")  # [B, k, S]
    last = initializer(graph, "winners.axis", np.array([-1], np.int64))
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
