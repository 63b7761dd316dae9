"""SmoothQuant (Xiao et al. 2022, arXiv:2211.10438): move outlier channels from activations into weights, exactly.

An activation is divided by a factor per channel and the rows of the weights that read it are multiplied by the same
factor. The division costs nothing where it folds into what makes the activation: a LayerNormalization's weight, the
value projection ahead of an attention, the unactivated half of a gated MLP.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from ..calibration import Observed
from ..graph.edit import Floats, change_constant
from ..graph.find import constant
from .sites import Site

# (node, input) of constants whose last axis makes an activation's channels: dividing them all divides the activation.
Fold = tuple[tuple[ir.Node, int], ...]


def find_fold(site: Site) -> Fold | None:
    """Where a division of the site's activation folds, or None where nothing takes it exactly."""
    if site.is_decoder or site.activation.is_graph_output():
        return None  # the decoder's rows are the embedding's, which must not change
    maker = site.activation.producer()
    if maker is None or len(site.activation.uses()) != len(site.linears):
        return None  # read by something else too, a residual for instance
    match maker.op_type:
        case "LayerNormalization":
            return _constants(maker, range(1, len(maker.inputs)))
        case "Attention":
            return _projection(maker.inputs[2])
        case "Mul":
            return next(filter(None, map(_projection, maker.inputs)), None)
    return None


def _projection(value: ir.Value | None) -> Fold | None:
    """The weight, and the bias if any, of a projection that nothing else reads."""
    node = value.producer() if value is not None and len(value.uses()) == 1 else None
    if node is None:
        return None
    if node.op_type == "MatMul":
        return _constants(node, [1])
    if node.op_type == "Add":
        for bias, product in ((0, 1), (1, 0)):
            weight, rest = _projection(node.inputs[product]), _constants(node, [bias])
            if weight is not None and rest is not None:
                return weight + rest
    return None


def _constants(node: ir.Node, indices: Sequence[int]) -> Fold | None:
    if any(constant(node.inputs[index]) is None for index in indices):
        return None
    return tuple((node, index) for index in indices)


def smoothing_factors(observed: Observed, heaviest: Floats, alpha: float) -> Floats:
    """float32 [K]: max|X|^alpha / max|W|^(1 - alpha) a channel (SmoothQuant, equation 4), geometric mean 1.

    `heaviest`, float32 [K], is max|W|.
    """
    activation = np.maximum(np.maximum(np.abs(observed.low), np.abs(observed.high)), 1e-5)
    factors = activation**alpha / np.maximum(heaviest, 1e-5) ** (1 - alpha)
    return np.asarray(factors / np.exp(np.log(factors).mean()), dtype=np.float32)


def divide(graph: ir.Graph, fold: Fold, site: Site, factors: Floats) -> None:
    """Divide the activation at its fold and multiply the rows of the weights that read it."""
    for node, index in fold:
        change_constant(graph, node, index, _name(node, index), lambda data: data / factors)
    for linear in site.linears:
        change_constant(graph, linear.node, 1, _name(linear.node, 1), lambda data: data * factors[:, None])


def _name(node: ir.Node, index: int) -> str:
    old = node.inputs[index]
    assert old is not None
    return f"{old.name}.smooth.{node.outputs[0].name}.{index}"
