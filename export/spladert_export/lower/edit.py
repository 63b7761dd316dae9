"""Small edits of a graph that the GPU variants are made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray


def constant(graph: ir.Graph, name: str, data: NDArray[Any]) -> ir.Value:
    """The initializer `name`, made of `data` unless it is there already."""
    if name not in graph.initializers:
        tensor = ir.tensor(np.array(data, order="C"), name=name)
        graph.register_initializer(
            ir.Value(name=name, shape=ir.Shape(data.shape), type=ir.TensorType(tensor.dtype), const_value=tensor)
        )
    return graph.initializers[name]


def replace_node(graph: ir.Graph, old: ir.Node, new: Sequence[ir.Node]) -> None:
    """Put `new` in the place of `old`; the last one makes its output, of the same name, shape and type."""
    output, result = old.outputs[0], new[-1].outputs[0]
    result.shape, result.type = output.shape, output.type
    for number, node in enumerate(new[:-1]):
        for value in node.outputs:
            value.name = f"{output.name}.{number}.{value.index()}"
    for node in new:
        graph.insert_before(old, node)
    ir.convenience.replace_all_uses_with(output, result, replace_graph_outputs=True)
    name, output.name = output.name, None
    result.name = name
    graph.remove(old, safe=True)
