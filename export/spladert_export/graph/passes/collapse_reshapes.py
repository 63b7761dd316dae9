"""Reshape(Reshape(x)) back to the shape of x is x: the head splits and merges around fused operators cancel out."""

from __future__ import annotations

import onnx_ir as ir


def collapse_reshapes(model: ir.Model) -> int:
    """Bypass each Reshape whose result has the shape, symbols included, of a value further up its chain of Reshapes."""
    changed = 0
    for node in model.graph.all_nodes():
        if node.op_type != "Reshape" or node.outputs[0].is_graph_output():
            continue
        source = _same_shape_above(node)
        if source is not None:
            ir.convenience.replace_all_uses_with(node.outputs[0], source)
            changed += 1
    return changed


def _same_shape_above(node: ir.Node) -> ir.Value | None:
    shape = node.outputs[0].shape
    above = node.inputs[0]
    while above is not None and shape is not None:
        if _known_equal(above.shape, shape):
            return above
        producer = above.producer()
        above = producer.inputs[0] if producer is not None and producer.op_type == "Reshape" else None
    return None


def _known_equal(a: ir.Shape | None, b: ir.Shape) -> bool:
    if a is None or len(a) != len(b):
        return False
    return all(x == y and (isinstance(x, int) or x.value is not None) for x, y in zip(a, b, strict=True))
