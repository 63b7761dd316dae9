"""Places of an encoder's graph that rewrites look for, by what they compute and not by their names."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

ATTENTION = ("Attention", "MultiHeadAttention")


def constant(value: ir.Value | None) -> ir.TensorProtocol | None:
    """What a value holds, where it is an initializer."""
    return None if value is None else value.const_value


def array(value: ir.Value | None) -> NDArray[Any]:
    """The numbers of an initializer."""
    tensor = constant(value)
    assert tensor is not None
    return tensor.numpy()


def is_linear(node: ir.Node) -> bool:
    """Whether a node is a product of an activation with a constant matrix: MatMul [K, N], or Gemm of the decoder."""
    if node.op_type not in ("MatMul", "Gemm") or node.domain not in ("", "ai.onnx"):
        return False
    weight = constant(node.inputs[1])
    return weight is not None and len(weight.shape) == 2 and constant(node.inputs[0]) is None


def is_decoder(node: ir.Node) -> bool:
    """Whether a node is a tile of the decoder: Gemm with the rows of the vocabulary as they lie (transB)."""
    return is_linear(node) and node.op_type == "Gemm"


def embedding_gather(graph: ir.Graph) -> ir.Node | None:
    """The gather of the token embedding's rows, None where rows come in another way."""
    for node in graph:
        if node.op_type == "Gather" and node.inputs[1] is graph.inputs[0] and constant(node.inputs[0]) is not None:
            return node
    return None


def selection(graph: ir.Graph) -> ir.Node:
    """The TopK that chooses a text's entries."""
    return next(node for node in graph if node.op_type == "TopK")


def biased_logits(graph: ir.Graph) -> ir.Node:
    """The Add of the decoder's bias to the pooled logits."""
    chosen_from = selection(graph).inputs[0]
    node = chosen_from.producer() if chosen_from is not None else None
    assert node is not None
    assert node.op_type == "Add"
    return node


def decoder_bias(graph: ir.Graph) -> ir.Value:
    return next(value for value in biased_logits(graph).inputs if value is not None and constant(value) is not None)


def hidden_states(rows: ir.Value) -> ir.Value:
    """The [B, S, H] value behind the decoder's rows [S * B, H]."""
    reshape = rows.producer()
    transpose = reshape.inputs[0].producer() if reshape is not None and reshape.inputs[0] is not None else None
    assert transpose is not None
    assert transpose.op_type == "Transpose"
    hidden = transpose.inputs[0]
    assert hidden is not None
    return hidden


def value_named(graph: ir.Graph, name: str) -> ir.Value | None:
    """The value of that name which a node of the graph makes."""
    return next((value for node in graph for value in node.outputs if value.name == name), None)


def is_tied(embedding: NDArray[np.float32], rows: NDArray[np.float32]) -> bool:
    """Whether the decoder multiplies with the token embedding itself."""
    return embedding.shape == rows.shape and np.array_equal(embedding, rows)
