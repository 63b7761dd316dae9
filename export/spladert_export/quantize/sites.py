"""Where a graph can be quantized: its linear layers, grouped by the activation they read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Linear:
    """A product of an activation with a constant matrix, MatMul [K, N] or Gemm with transB [N, K]."""

    node: ir.Node

    @property
    def weight(self) -> Floats:
        """float32 [K, N], whatever way it lies in the graph."""
        value = self.node.inputs[1]
        assert value is not None
        assert value.const_value is not None
        data = value.const_value.numpy()
        return data.T if self.node.op_type == "Gemm" else data


@dataclass(frozen=True)
class Site:
    """An activation [..., K] with all the linear layers that read it: they share its scale and zero point."""

    activation: ir.Value
    linears: tuple[Linear, ...]

    @property
    def name(self) -> str:
        return str(self.activation.name)

    @property
    def is_decoder(self) -> bool:
        return self.linears[0].node.op_type == "Gemm"


def find_sites(model: ir.Model) -> list[Site]:
    """All sites in graph order. A linear layer's weight is a 2-D constant; the decoder's tiles are its Gemm nodes."""
    groups: dict[ir.Value, list[Linear]] = {}
    for node in model.graph:
        if node.op_type not in ("MatMul", "Gemm") or node.domain not in ("", "ai.onnx"):
            continue
        activation, weight = node.inputs[0], node.inputs[1]
        if activation is None or weight is None or weight.const_value is None or len(weight.const_value.shape) != 2:
            continue
        groups.setdefault(activation, []).append(Linear(node))
    return [Site(activation, tuple(linears)) for activation, linears in groups.items()]
