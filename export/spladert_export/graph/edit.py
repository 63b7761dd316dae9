"""Small edits that every rewrite of a graph is made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def initializer(graph: ir.Graph, name: str, data: NDArray[Any] | torch.Tensor) -> ir.Value:
    """The initializer `name`, made of `data` unless it is there already.

    A torch tensor keeps its storage, which the writer shares between views.
    """
    if name not in graph.initializers:
        if isinstance(data, torch.Tensor):
            return _register(graph, name, ir.tensor_adapters.TorchTensor(data, name=name))
        return _register(graph, name, ir.tensor(np.asarray(data, order="C"), name=name))
    return graph.initializers[name]


def change_constant(
    graph: ir.Graph, node: ir.Node, index: int, name: str, change: Callable[[Floats], Floats]
) -> ir.Value:
    """Give this one reader of a float32 constant a changed copy called `name`: others may share the constant.

    The copy keeps the shape. It is computed whenever it is read and takes no memory until then.
    """
    old = node.inputs[index]
    assert old is not None
    tensor = old.const_value
    assert tensor is not None

    def compute() -> ir.TensorProtocol:
        return ir.tensor(np.ascontiguousarray(change(tensor.numpy()), dtype=np.float32), name=name)

    lazy = ir.LazyTensor(compute, dtype=ir.DataType.FLOAT, shape=ir.Shape(tensor.shape.numpy()), name=name)
    new = _register(graph, name, lazy)
    node.replace_input_with(index, new)
    return new


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


def describe(value: ir.Value, name: str, kind: ir.DataType, shape: ir.Shape | None) -> None:
    """Give a new value its name, type and shape."""
    value.name, value.shape, value.type = name, shape, ir.TensorType(kind)


def _register(graph: ir.Graph, name: str, tensor: ir.TensorProtocol) -> ir.Value:
    shape = ir.Shape(tensor.shape.numpy())
    value = ir.Value(name=name, shape=shape, type=ir.TensorType(tensor.dtype), const_value=tensor)
    graph.register_initializer(value)
    return value
