"""fp16 or bf16 where it is fast, fp32 where it has to be: the type of every value is written into the graph."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx_ir as ir
import torch

from ..errors import VariantRefusedError
from ..graph.edit import initializer
from ..graph.find import array, biased_logits, constant, embedding_gather, is_decoder, is_tied

FLOAT, HALF, BRAIN = ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16
LARGEST = 65504.0  # the largest fp16 number
MASK = -3e4  # of a hidden token's score: exp() of it is 0, and the sum with a score stays within fp16
# Products, which tensor cores do in fp16 with fp32 sums. What is in no list follows its inputs.
PRODUCTS = frozenset({"MatMul", "Gemm", "MultiHeadAttention", "RotaryEmbedding"})
NORMS = frozenset({"LayerNormalization", "SkipLayerNormalization"})


def to_half(
    model: ir.Model, *, wide: Collection[str], wide_operators: Collection[str] = (), short: ir.DataType = HALF
) -> None:
    """Give every floating value of `model` its type, in place.

    Products are of the short type, the pooled logits and all that follows them fp32, and every other node is short
    where all that it computes with is. A residual sum that has to be fp32 so keeps the ones after it in fp32.

    The vocabulary, embedding and decoder (Gemm), is fp16 whatever the short type: the CUDA provider has no ReduceMax of
    bf16, and what is multiplied there went through a layer norm and fits.

    Args:
        wide: names of values that do not fit fp16; the nodes that make or multiply them in fp16 become fp32.
        wide_operators: operators that stay fp32 wherever they are.
        short: FLOAT16 or BFLOAT16.

    Raises:
        VariantRefusedError: a weight does not fit fp16.
    """
    graph = model.graph
    logits = biased_logits(graph)  # from there on, everything is fp32
    types: dict[ir.Value, ir.DataType] = {}  # of the values made so far
    casts: dict[tuple[ir.Value, ir.DataType], ir.Value] = {}
    vocabulary = _vocabulary(graph)
    for node in list(graph):
        inputs = [value for value in node.inputs if value is not None and value.dtype == FLOAT]
        makes_float = [value for value in node.outputs if value.dtype == FLOAT]
        if not inputs and not makes_float:
            continue
        made = [types[value] for value in inputs if value in types]
        if node.op_type == "Gemm" or any(value in vocabulary for value in inputs):
            kind = HALF
        elif node.op_type in PRODUCTS or not made:
            kind = short
        elif len(set(made)) == 1:
            kind = made[0]
        else:
            kind = FLOAT if FLOAT in made else short
        multiplied = inputs if node.op_type in PRODUCTS else []
        too_wide = kind == HALF and any(value.name in wide for value in [*makes_float, *multiplied])
        if node is logits or node.op_type in wide_operators or too_wide:
            kind = FLOAT
        if node.op_type == "Cast" and makes_float:
            node.attributes["to"] = ir.AttrInt64("to", kind)
        for index, value in enumerate(node.inputs):
            if value is None or value not in inputs:
                continue
            if constant(value) is not None:
                new = vocabulary.get(value) if kind == HALF else value if kind == FLOAT else None
                node.replace_input_with(index, new or _short_constant(graph, value, kind))
            elif types[value] != kind:
                node.replace_input_with(index, _cast(graph, node, value, kind, casts))
        for value in makes_float:
            types[value] = kind
    for value, kind in types.items():
        value.type = ir.TensorType(kind)
    for output in graph.outputs:
        assert output.dtype not in (HALF, BRAIN)


def _short_constant(graph: ir.Graph, value: ir.Value, kind: ir.DataType) -> ir.Value:
    data = array(value)
    if data.size and data.min() < -1e38:
        data = np.where(data < -1e38, np.float32(MASK), data)  # the least float32, which hides a token
    if kind == BRAIN:
        return initializer(graph, f"{value.name}.brain", torch.from_numpy(np.array(data)).bfloat16())
    if data.size and np.abs(data).max() > LARGEST:
        raise VariantRefusedError(
            f"weight {value.name} reaches {np.abs(data).max():.3g}, and fp16 holds at most {LARGEST:.0f}; "
            "leave the fp16 variants out, or take bf16"
        )
    return initializer(graph, f"{value.name}.half", data.astype(np.float16))


def _vocabulary(graph: ir.Graph) -> dict[ir.Value, ir.Value]:
    """fp16 constants of the decoder's tiles and of the embedding, if it is tied, that share their memory."""
    tiles = [value for node in graph if is_decoder(node) if (value := node.inputs[1]) is not None]
    if not tiles:
        return {}
    rows = np.concatenate([array(value) for value in tiles])
    if np.abs(rows).max() > LARGEST:
        return {}
    table = torch.from_numpy(rows.astype(np.float16))
    found, start = {}, 0
    for value in tiles:
        stop = start + len(array(value))
        found[value] = initializer(graph, f"{value.name}.half", table[start:stop])
        start = stop
    gather = embedding_gather(graph)
    embedding = gather.inputs[0] if gather is not None else None
    if embedding is not None and is_tied(array(embedding), rows):
        found[embedding] = initializer(graph, f"{embedding.name}.half", table)
    return found


def _cast(
    graph: ir.Graph,
    reader: ir.Node,
    value: ir.Value,
    kind: ir.DataType,
    casts: dict[tuple[ir.Value, ir.DataType], ir.Value],
) -> ir.Value:
    """`value` in the other type; one Cast for all readers, put before the first of them."""
    if (value, kind) not in casts:
        node = ir.node("Cast", [value], {"to": kind})
        result = node.outputs[0]
        result.name, result.shape, result.type = f"{value.name}.{kind.name.lower()}", value.shape, ir.TensorType(kind)
        graph.insert_before(reader, node)
        casts[value, kind] = result
    return casts[value, kind]
