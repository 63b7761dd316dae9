"""A graph of plain ONNX operators of opset 20, which every TensorRT 10 parses, out of the CPU graph.

TensorRT 10.0 takes opsets up to 20, later releases up to 24 (onnx-tensorrt, docs/operators.md). What it fuses by itself
is the pattern MatMul, Add, Softmax, MatMul: attention is written so, and rotary embeddings as products with tables.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass

from ..graph.edit import initializer, replace_node
from ..graph.find import array, value_named

OPSET = 20  # the first with Gelu


def lower_to_plain(model: ir.Model) -> dict[str, int]:
    """Rewrite `model` in place; returns how many nodes each rewrite changed."""
    graph = model.graph
    changed = {"attention": 0, "rotary": 0}
    for node in list(graph):
        if node.op_type == "Attention":
            expand_attention(graph, node)
            changed["attention"] += 1
        elif node.op_type == "RotaryEmbedding":
            expand_rotary(graph, node)
            changed["rotary"] += 1
    model.opset_imports.pop("com.microsoft", None)
    model.opset_imports[""] = OPSET
    ShapeInferencePass()(model)  # ranks and types of what is new
    return changed


def expand_attention(graph: ir.Graph, node: ir.Node) -> None:
    """Softmax(scale * Q K^T + bias) V; the scale comes first, so that fp16 products have the most room."""
    query, key, value, *bias = node.inputs  # [B, S, N * D] each, the bias [B, 1, S, S]
    heads = node.attributes.get_int("q_num_heads")
    split = initializer(graph, f"attention.split.{heads}", np.array([0, 0, heads, -1], np.int64))
    merge = initializer(graph, "attention.merge", np.array([0, 0, -1], np.int64))
    factor = node.attributes.get_float("scale")
    scale = initializer(graph, f"attention.scale.{factor:.9g}", np.array(factor, np.float32))
    scaled = ir.node("Mul", [query, scale])
    nodes = [scaled]

    def heads_first(x: ir.Value | None, perm: tuple[int, ...]) -> ir.Value:
        parts = ir.node("Reshape", [x, split])  # [B, S, N, D]
        turned = ir.node("Transpose", parts.outputs, {"perm": perm})
        nodes.extend([parts, turned])
        return turned.outputs[0]

    q, v = heads_first(scaled.outputs[0], (0, 2, 1, 3)), heads_first(value, (0, 2, 1, 3))
    k = heads_first(key, (0, 2, 3, 1))
    scores = ir.node("MatMul", [q, k])  # [B, N, S, S]
    nodes.append(scores)
    if bias:
        nodes.append(ir.node("Add", [scores.outputs[0], bias[0]]))
    weights = ir.node("Softmax", nodes[-1].outputs, {"axis": -1})
    mixed = ir.node("MatMul", [weights.outputs[0], v])  # [B, N, S, D]
    together = ir.node("Transpose", mixed.outputs, {"perm": (0, 2, 1, 3)})
    replace_node(graph, node, [*nodes, weights, mixed, together, ir.node("Reshape", [together.outputs[0], merge])])


def expand_rotary(graph: ir.Graph, node: ir.Node) -> None:
    """x * cos + swap_halves(x) * [-sin, sin], with the tables of com.microsoft RotaryEmbedding, not interleaved."""
    x, _, cosines, sines = node.inputs  # [B, S, N * D], tables [L, D / 2]
    assert x is not None
    assert cosines is not None
    assert sines is not None
    assert not node.attributes.get_int("interleaved", 0)
    heads = node.attributes.get_int("num_heads")
    cos, sin = array(cosines), array(sines)
    length, half = cos.shape
    whole_cos = np.concatenate([cos, cos], axis=1).reshape(1, length, 1, 2 * half)
    signed_sin = np.concatenate([-sin, sin], axis=1).reshape(1, length, 1, 2 * half)
    split = initializer(graph, f"attention.split.{heads}", np.array([0, 0, heads, -1], np.int64))
    merge = initializer(graph, "attention.merge", np.array([0, 0, -1], np.int64))
    parts = ir.node("Reshape", [x, split])  # [B, S, N, D]
    halves = ir.node("Split", parts.outputs, {"axis": -1, "num_outputs": 2}, num_outputs=2)
    swapped = ir.node("Concat", [halves.outputs[1], halves.outputs[0]], {"axis": -1})
    straight = ir.node("Mul", [parts.outputs[0], _rows(graph, f"{cosines.name}.whole", whole_cos)])
    crossed = ir.node("Mul", [swapped.outputs[0], _rows(graph, f"{sines.name}.signed", signed_sin)])
    total = ir.node("Add", [straight.outputs[0], crossed.outputs[0]])
    nodes = [parts, halves, swapped, straight, crossed, total, ir.node("Reshape", [total.outputs[0], merge])]
    replace_node(graph, node, nodes)


def _rows(graph: ir.Graph, name: str, table: np.ndarray) -> ir.Value:
    """The first S rows of a table [1, L, 1, D], S being the length of the texts; one Slice for all who ask."""
    found = value_named(graph, f"{name}.rows")
    if found is not None:
        return found
    length = value_named(graph, "rotary.length")
    if length is None:
        shape = ir.node("Shape", [graph.inputs[0]], {"start": 1, "end": 2})
        length = shape.outputs[0]
        length.name = "rotary.length"
        graph.insert_before(graph[0], shape)
    start = initializer(graph, "rotary.start", np.array([0], np.int64))
    axis = initializer(graph, "rotary.axis", np.array([1], np.int64))
    rows = ir.node("Slice", [initializer(graph, name, table), start, length, axis])
    rows.outputs[0].name = f"{name}.rows"
    producer = length.producer()
    assert producer is not None
    graph.insert_after(producer, rows)
    return rows.outputs[0]
