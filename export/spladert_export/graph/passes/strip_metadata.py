"""The exporter records its stack traces, with the paths of the machine, beside every node: they go."""

from __future__ import annotations

import onnx_ir as ir


def strip_metadata(model: ir.Model) -> int:
    """Remove metadata and doc strings from the model, its nodes and its values."""
    changed = 0
    model.doc_string = None
    values = [*model.graph.inputs, *model.graph.outputs, *model.graph.initializers.values()]
    for node in model.graph.all_nodes():
        changed += bool(node.metadata_props or node.doc_string)
        node.metadata_props.clear()
        node.doc_string = None
        values += node.outputs
    for value in values:
        value.metadata_props.clear()
    for owner in (model, model.graph):
        owner.metadata_props.clear()
    model.producer_name, model.producer_version = "spladert", None
    return changed
