"""A graph of short floats as an fp32 one that rounds to them wherever the short one would.

ONNX Runtime's CPU provider has few fp16 kernels. It puts casts around the other nodes and then removes them in pairs,
so that an fp16 graph runs in fp32 there from end to end: it would show neither rounding nor overflow.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from .half import BRAIN, FLOAT, HALF

SHORT = (HALF, BRAIN)

# Their results are values that they were given, so they are rounded already.
MOVES = frozenset({"Reshape", "Transpose", "Slice", "Split", "Concat", "Expand", "Unsqueeze", "Where", "ReduceMax"})


def emulate_half(model: ir.Model) -> None:
    """Rewrite `model` in place: every fp16 or bf16 value becomes an fp32 one that is rounded where it is made."""
    graph = model.graph
    for value in graph.initializers.values():
        if value.dtype in SHORT and value.const_value is not None:
            data = value.const_value.numpy().astype(np.float32)
            value.const_value, value.type = ir.tensor(data, name=value.name), ir.TensorType(FLOAT)
    for node in list(graph):
        for value in node.outputs:
            if value.dtype not in SHORT:
                continue
            kind = value.dtype
            value.type = ir.TensorType(FLOAT)
            if node.op_type == "Cast":
                node.attributes["to"] = ir.AttrInt64("to", FLOAT)
            if node.op_type not in MOVES:
                _round(graph, node, value, kind)


def _round(graph: ir.Graph, node: ir.Node, value: ir.Value, kind: ir.DataType) -> None:
    down = ir.node("Cast", [value], {"to": kind})
    up = ir.node("Cast", down.outputs, {"to": FLOAT})
    down.outputs[0].name, up.outputs[0].name = f"{value.name}.rounded.short", f"{value.name}.rounded"
    for result, made in ((down.outputs[0], kind), (up.outputs[0], FLOAT)):
        result.shape, result.type = value.shape, ir.TensorType(made)
    ir.convenience.replace_all_uses_with(value, up.outputs[0])
    down.replace_input_with(0, value)
    graph.insert_after(node, [down, up])
