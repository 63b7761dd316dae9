"""Small edits of a graph that quantization is made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray

from .sites import Floats

# Symmetric, so that no zero point of the weights has to be corrected for. Seven bits, because x86 without VNNI adds two
# products u8 * s8 in 16 bits and saturates (microsoft/onnxruntime#14642): 2 * 255 * 64 = 32,640 still fits, so that
# every CPU computes the same integers.
WEIGHT_LIMIT = 64


def quantize_weight(weight: Floats) -> tuple[NDArray[np.int8], Floats]:
    """int8 [K, N] within `WEIGHT_LIMIT` and its scales float32 [N]: weight ~ integers * scales."""
    scales = np.maximum(np.abs(weight).max(axis=0), 1e-12) / WEIGHT_LIMIT
    integers = np.clip(np.rint(weight / scales), -WEIGHT_LIMIT, WEIGHT_LIMIT).astype(np.int8)
    return integers, scales.astype(np.float32)


def add_constant(graph: ir.Graph, name: str, data: NDArray[Any] | torch.Tensor) -> ir.Value:
    tensor: ir.TensorProtocol
    if isinstance(data, torch.Tensor):  # keeps its storage, which the writer shares between views
        tensor = ir.tensor_adapters.TorchTensor(data, name=name)
    else:
        tensor = ir.tensor(data, name=name)
    value = ir.Value(name=name, shape=ir.Shape(data.shape), type=ir.TensorType(tensor.dtype), const_value=tensor)
    graph.register_initializer(value)
    return value


def put_in_place(graph: ir.Graph, old: ir.Node, new: Sequence[ir.Node]) -> None:
    """Put `new` in the place of `old`; the last one makes its output."""
    result, output = new[-1].outputs[0], old.outputs[0]
    result.shape, result.type = output.shape, output.type
    for number, node in enumerate(new):
        node.outputs[0].name = f"{output.name}.int8.{number}"
        graph.insert_before(old, node)
    ir.convenience.replace_all_uses_with(output, result)
    graph.remove(old, safe=True)
