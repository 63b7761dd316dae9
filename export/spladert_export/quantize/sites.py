"""Where a graph can be quantized: its linear layers, grouped by the activation they read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from ..graph.edit import Floats
from ..graph.find import array, is_decoder
from ..graph.roles import layer_roles

SAMPLE_COLUMNS = 256  # about as many outputs of a layer are looked at where ways to quantize it are compared


@dataclass(frozen=True)
class Linear:
    """A product of an activation with a constant matrix, MatMul [K, N] or Gemm with transB [N, K]."""

    node: ir.Node

    @property
    def weight(self) -> Floats:
        """float32 [K, N], whatever way it lies in the graph."""
        data = array(self.node.inputs[1])
        return data.T if self.node.op_type == "Gemm" else data

    def sample(self) -> Floats:
        """Evenly spaced columns of the weight, at most 2 * SAMPLE_COLUMNS; all of them where they are few."""
        weight = self.weight
        return np.ascontiguousarray(weight[:, :: max(weight.shape[1] // SAMPLE_COLUMNS, 1)])

    @property
    def output(self) -> str:
        """The name of its result."""
        return str(self.node.outputs[0].name)


@dataclass(frozen=True)
class Site:
    """An activation [..., K] with all the linear layers that read it: they share its scale and zero point.

    `role` says which it is, such as "layers.0.mlp.output"; see `graph.roles`.
    """

    role: str
    activation: ir.Value
    linears: tuple[Linear, ...]

    @property
    def name(self) -> str:
        """The name of the activation."""
        return str(self.activation.name)

    @property
    def is_decoder(self) -> bool:
        return is_decoder(self.linears[0].node)


def find_sites(model: ir.Model) -> list[Site]:
    """All sites of an fp32 graph, in its order. A linear layer's weight is a 2-D constant; the decoder's are Gemm."""
    groups: dict[ir.Value, list[Linear]] = {}
    roles = layer_roles(model.graph)
    for node in roles:
        activation = node.inputs[0]
        assert activation is not None
        groups.setdefault(activation, []).append(Linear(node))
    return [Site(roles[linears[0].node], activation, tuple(linears)) for activation, linears in groups.items()]


def largest_weights(site: Site) -> Floats:
    """float32 [K]: the largest |weight| of each input channel over the site's layers."""
    found: Floats = np.max([np.abs(linear.weight).max(axis=1) for linear in site.linears], axis=0)
    return found
