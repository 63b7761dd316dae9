"""Small steps through a graph: to the linear layer, norm or activation that reads a value, checked as it is met."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from .description import Activation, Linear, Norm, NotCoveredError, Quantization
from .graph import Graph, Node

if TYPE_CHECKING:
    from numpy.typing import NDArray

ACTIVATIONS: dict[str, Activation] = {"Gelu": "gelu", "Relu": "relu"}
# Operators that the encoder is made of; each one in the graph has to be met.
COUNTED = (
    "LayerNormalization",
    "MatMulIntegerToFloat",
    "MatMul",
    "QGemm",
    "Attention",
    "RotaryEmbedding",
    "Log",
    *ACTIVATIONS,
)


class Walk:
    """A walk through a graph that counts what it meets."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.met: Counter[str] = Counter()

    def readers(self, value: str) -> list[Node]:
        """The linear layers that read a value, through its quantization if it has one."""
        users = self.graph.users[value]
        quantized = [node for node in users if node.op_type == "QuantizeLinear"]
        if len(quantized) == 1:
            return self.graph.users[quantized[0].output]
        return [node for node in users if node.op_type == "MatMul" and node.inputs[0] == value]

    def quantization(self, linear: Node) -> Quantization:
        quantize = self.graph.producers[linear.inputs[0]]
        return self.quantize_linear(quantize) if linear.op_type == "MatMulIntegerToFloat" else Quantization()

    def quantize_linear(self, node: Node) -> Quantization:
        scale, zero_point = (self.constant(name) for name in node.inputs[1:3])
        if scale.size != 1 or zero_point.dtype != np.uint8:
            raise NotCoveredError("activations that are not uint8 with one scale")
        return Quantization(float(scale), int(zero_point))

    def linear(self, node: Node) -> tuple[Linear, str]:
        """A linear layer and its result, the bias included."""
        if node.op_type not in ("MatMulIntegerToFloat", "MatMul"):
            raise NotCoveredError(f"{node.op_type} where a linear layer was looked for")
        self.met[node.op_type] += 1
        weight = self.constant(node.inputs[1])
        scale = None
        if node.op_type == "MatMulIntegerToFloat":
            scale, quantize = self.constant(node.inputs[3]), self.graph.producers.get(node.inputs[0])
            same = quantize is not None and quantize.inputs[1:3] == (node.inputs[2], node.inputs[4])
            if not same or len(node.inputs) != 5 or weight.dtype != np.int8 or scale.shape != weight.shape[1:]:
                raise NotCoveredError("an int8 product with a bias, zero points or another scale of its own")
        elif weight.dtype != np.float32 or weight.ndim != 2:
            raise NotCoveredError(f"a product with weights of type {weight.dtype}")
        after = self.next(node.output)
        if after.op_type == "Add":
            other = self.graph.constants.get(self.other(after, node.output))
            if other is not None:
                return Linear(weight, scale, other), after.output
        return Linear(weight, scale, None), node.output

    def single(self, value: str) -> tuple[Quantization, Linear, str]:
        """The one linear layer that reads a value: its quantization, itself and its result."""
        readers = self.readers(value)
        if len(readers) != 1:
            raise NotCoveredError(f"{len(readers)} linear layers where one was looked for")
        linear, out = self.linear(readers[0])
        return self.quantization(readers[0]), linear, out

    def residual(self, stream: str, value: str) -> str:
        add = self.only(value, "Add")
        if set(add.inputs) != {stream, value}:
            raise NotCoveredError("a layer's result that is not added to the residual stream")
        return add.output

    def norm_of(self, stream: str) -> tuple[Norm, str]:
        return self.norm_node(self.next(stream, 0, "LayerNormalization"))

    def norm(self, value: str) -> tuple[Norm, str]:
        return self.norm_node(self.only(value, "LayerNormalization"))

    def norm_node(self, node: Node) -> tuple[Norm, str]:
        self.met[node.op_type] += 1
        weight = self.constant(node.inputs[1])
        bias = self.constant(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] else None
        if node.attributes.get("axis", -1) != -1 or weight.ndim != 1:
            raise NotCoveredError("a norm over another axis than the last")
        return Norm(weight, bias, float(node.attributes.get("epsilon", 1e-5))), node.output

    def activation(self, value: str) -> tuple[Activation, str]:
        node = self.next(value)
        if node.op_type not in ACTIVATIONS or node.attributes.get("approximate", b"none") != b"none":
            raise NotCoveredError(f"activation {node.op_type}, which is neither exact GELU nor ReLU")
        self.met[node.op_type] += 1
        return ACTIVATIONS[node.op_type], node.output

    def count(self, node: Node, op_type: str) -> None:
        if node.op_type != op_type:
            raise NotCoveredError(f"{node.op_type} where {op_type} was looked for")
        self.met[op_type] += 1

    def next(self, value: str, position: int = 0, op_type: str | None = None) -> Node:
        """The first user of a value, of a type if one is given."""
        users = [node for node in self.graph.users[value] if op_type in (None, node.op_type)]
        if len(users) <= position:
            raise NotCoveredError(f"nothing where {op_type or 'an operator'} was looked for")
        return users[position]

    def only(self, value: str, op_type: str, also: str | None = None) -> Node:
        """The user of a value, of this type; users of the type `also` do not count."""
        users = [node for node in self.graph.users[value] if node.op_type != also]
        if [node.op_type for node in users] != [op_type]:
            found = ", ".join(node.op_type for node in users) or "nothing"
            raise NotCoveredError(f"{found} where {op_type} was looked for")
        return users[0]

    def other(self, node: Node, value: str) -> str:
        """The input of a node of two that is not `value`."""
        return node.inputs[1] if node.inputs[0] == value else node.inputs[0]

    def constant(self, name: str) -> NDArray[Any]:
        if name not in self.graph.constants:
            raise NotCoveredError(f"{name} is computed where a constant was looked for")
        return self.graph.constants[name]

    def check_counts(self) -> None:
        there = Counter(node.op_type for node in self.graph.nodes if node.op_type in COUNTED)
        there.subtract(("Relu", "Log"))  # of the weights log(1 + relu(x)), which is all that the engine knows
        for op_type in COUNTED:
            if there[op_type] != self.met[op_type]:
                raise NotCoveredError(f"{there[op_type]} nodes {op_type}, of which the encoder has {self.met[op_type]}")
