"""The graph for runtimes of 2023: opset 19, IR 9, and one dense row of weights a text instead of its winners.

OpenSearch's ML plugin runs ONNX Runtime 1.16.3, which reads opset 19 and IR 9 at most, and has no rotary embeddings or
attention of today's opsets. The operators of com.microsoft that an int8 graph has are in it.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from ..graph.edit import describe, initializer, replace_node
from ..graph.find import array
from .plain import expand_attention, expand_rotary

OPSET, IR_VERSION = 19, 9
INPUTS = {"input_ids": "input1.input_ids", "attention_mask": "input1.attention_mask"}
OUTPUT = "weights"


def lower_to_dense(model: ir.Model, vocabulary_size: int) -> None:
    """Rewrite `model` in place: its output is float32 [batch, vocabulary_size], zero where a token is no winner."""
    graph = model.graph
    for node in list(graph):
        if node.op_type == "Attention":
            expand_attention(graph, node)
        elif node.op_type == "RotaryEmbedding":
            expand_rotary(graph, node)
        elif node.op_type == "Gelu" and node.domain == "":
            _gelu(graph, node)
        elif node.op_type == "LayerNormalization" and len(node.inputs) == 2:
            _give_bias(graph, node)
    _scatter(graph, vocabulary_size)
    RemoveUnusedNodesPass()(model)
    for value in graph.inputs:
        value.name = INPUTS[value.name or ""]
    model.opset_imports[""] = OPSET
    model.opset_imports["com.microsoft"] = 1
    model.ir_version = IR_VERSION


def _gelu(graph: ir.Graph, node: ir.Node) -> None:
    """Gelu of opset 20 as that of com.microsoft; the tanh approximation there is FastGelu."""
    tanh = node.attributes.get_string("approximate", "none") == "tanh"
    replace_node(graph, node, [ir.node("FastGelu" if tanh else "Gelu", node.inputs, domain="com.microsoft")])


def _give_bias(graph: ir.Graph, node: ir.Node) -> None:
    """A bias of zeros: fusions of ONNX Runtime 1.16 read the bias without asking whether there is one, and crash."""
    weight = array(node.inputs[1])
    zeros = initializer(graph, f"dense.zeros.{weight.size}", np.zeros_like(weight))
    replace_node(graph, node, [ir.node("LayerNormalization", [*node.inputs, zeros], node.attributes)])


def _scatter(graph: ir.Graph, vocabulary_size: int) -> None:
    """Each winner's weight at its id, in a row of zeros."""
    indices, values = graph.outputs  # [B, k] each
    batch = ir.node("Shape", [graph.inputs[0]], {"start": 0, "end": 1})
    width = initializer(graph, "dense.width", np.array([vocabulary_size], np.int64))
    shape = ir.node("Concat", [batch.outputs[0], width], {"axis": 0})
    zeros = ir.node("ConstantOfShape", shape.outputs)
    places = ir.node("Cast", [indices], {"to": ir.DataType.INT64})
    dense = ir.node("ScatterElements", [zeros.outputs[0], places.outputs[0], values], {"axis": 1})
    graph.extend([batch, shape, zeros, places, dense])
    describe(dense.outputs[0], OUTPUT, ir.DataType.FLOAT, ir.Shape(["batch", vocabulary_size]))
    graph.outputs.clear()
    graph.outputs.append(dense.outputs[0])
