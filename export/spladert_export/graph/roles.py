"""Roles of a graph's layers and values: `layers.3.mlp.output` whatever the architecture calls it.

Roles come from how values flow, so they need no name of any architecture: what feeds an attention is its `qkv`, what
reads one its `output`; a linear layer that reads other linear layers alone is an MLP's `output`; what the decoder reads
is the `head.dense`; the others read the residual stream and are an MLP's `input`.

    embedding, embedding.projection, layers.N.attention.qkv, layers.N.attention.output, layers.N.mlp.input,
    layers.N.mlp.output, head.dense, decoder

Values between the layers have more: `layers.N.attention`, `layers.N.attention.residual`, `layers.N.mlp.residual`. What
is no layer, residual sum or attention has the role of what it was made from last.
"""

from __future__ import annotations

import onnx_ir as ir

from .find import ATTENTION, constant, embedding_gather, is_decoder, is_linear


def layer_roles(graph: ir.Graph) -> dict[ir.Node, str]:
    """The role of each linear layer of an fp32 graph. Layers that read one activation share theirs; no others do."""
    linears = [node for node in graph if is_linear(node)]
    attentions = {node: number for number, node in enumerate(n for n in graph if n.op_type in ATTENTION)}
    stops = {*linears, *attentions}
    qkv = {
        source: number
        for node, number in attentions.items()
        for value in node.inputs[:3]
        for source in _sources(value, stops)
        if source not in attentions
    }
    last = [_sources(node.inputs[0], stops) for node in linears if is_decoder(node)]
    seen: dict[str, ir.Value | None] = {}
    roles, layer = {}, -1
    for node in graph:
        if node in attentions:
            layer = attentions[node]
        elif is_linear(node):
            role = _layer_role(node, layer, qkv, _sources(node.inputs[0], stops), last, attentions)
            roles[node] = _unique(role, node.inputs[0], seen)
    return roles


def _layer_role(
    node: ir.Node,
    layer: int,
    qkv: dict[ir.Node, int],
    sources: set[ir.Node],
    last: list[set[ir.Node]],
    attentions: dict[ir.Node, int],
) -> str:
    if is_decoder(node):
        return "decoder"
    if node in qkv:
        return f"layers.{qkv[node]}.attention.qkv"
    if any(node in read and _read_one_activation(read) for read in last):
        return "head.dense"
    if layer < 0:
        return "embedding.projection"
    if sources and sources <= attentions.keys():
        return f"layers.{layer}.attention.output"
    return f"layers.{layer}.mlp.{'output' if _read_one_activation(sources) else 'input'}"


def value_roles(graph: ir.Graph) -> dict[str, str]:
    """The role of every value that a node of an fp32 graph makes of the tokens, by the value's name."""
    layers = layer_roles(graph)
    gather = embedding_gather(graph)
    found: dict[ir.Value, tuple[int, str]] = {}  # with when it was given, to know the latest
    layer = -1
    for number, node in enumerate(graph):
        made_from = sorted({found[value] for value in node.inputs if value in found})
        if node in layers:
            role = (number, layers[node])
        elif node is gather:
            role = (number, "embedding")
        elif node.op_type in ATTENTION:
            layer += 1
            role = (number, f"layers.{layer}.attention")
        elif not made_from:
            continue
        elif node.op_type == "Add" and len({role for _, role in made_from}) > 1 and layer >= 0:
            role = (number, made_from[-1][1].removesuffix(".output") + ".residual")
        else:
            role = made_from[-1]
        for value in node.outputs:
            found[value] = role
    return {str(value.name): role for value, (_, role) in found.items()}


def _sources(value: ir.Value | None, stops: set[ir.Node]) -> set[ir.Node]:
    """The nearest nodes of `stops` that numbers of a value come from; gathers and the like where there are none."""
    found: set[ir.Node] = set()
    visited: set[ir.Node] = set()
    todo = [value]
    while todo:
        value = todo.pop()
        node = value.producer() if value is not None else None
        if node is None or node in visited:
            continue
        visited.add(node)
        behind = [x for x in node.inputs if x is not None and constant(x) is None and x.dtype == ir.DataType.FLOAT]
        if node in stops or not behind:
            found.add(node)
        todo += [] if node in stops else behind
    return found


def _read_one_activation(sources: set[ir.Node]) -> bool:
    """Whether they are linear layers of one and the same input, and nothing else."""
    return bool(sources) and all(map(is_linear, sources)) and len({node.inputs[0] for node in sources}) == 1


def _unique(role: str, activation: ir.Value | None, seen: dict[str, ir.Value | None]) -> str:
    """The role with a number where other layers have it already."""
    number, name = 1, role
    while seen.setdefault(name, activation) is not activation:
        number += 1
        name = f"{role}.{number}"
    return name
