"""The operators that ONNX Runtime's CUDA provider fuses, in the place of those of the CPU graph.

Checked with onnxruntime-gpu 1.31: every operator that the graph then has runs in the CUDA provider, in fp16 and fp32.
"""

from __future__ import annotations

import onnx_ir as ir

from ..graph.edit import replace_node

_MICROSOFT = "com.microsoft"


def lower_for_cuda(model: ir.Model) -> dict[str, int]:
    """Rewrite `model` in place; returns how many nodes each rewrite changed."""
    changed = {"multi_head_attention": _attention(model.graph), "skip_layer_norm": _skip_layer_norm(model.graph)}
    model.opset_imports[_MICROSOFT] = 1
    return changed


def _attention(graph: ir.Graph) -> int:
    """ONNX Attention to com.microsoft MultiHeadAttention.

    Its CUDA kernels (memory-efficient attention where there is a bias) have been in every release that this package
    takes. Attention of opset 23 came to the provider later, and at first without a fused kernel.
    """
    nodes = [node for node in graph if node.op_type == "Attention"]
    for node in nodes:
        query, key, value, *bias = node.inputs
        attributes = {"num_heads": node.attributes.get_int("q_num_heads"), "scale": node.attributes.get_float("scale")}
        inputs = [query, key, value, None, None, *bias]  # no projection bias, no key padding mask, an additive bias
        replace_node(graph, node, [ir.node("MultiHeadAttention", inputs, attributes, domain=_MICROSOFT)])
    return len(nodes)


def _skip_layer_norm(graph: ir.Graph) -> int:
    """LayerNormalization(a + b) to SkipLayerNormalization(a, b), which gives the sum too: one pass over memory."""
    changed = 0
    for norm in list(graph):
        if norm.op_type != "LayerNormalization" or norm.attributes.get_int("axis", -1) != -1:
            continue
        total = norm.inputs[0].producer() if norm.inputs[0] is not None else None
        if total is None or total.op_type != "Add" or total.outputs[0].is_graph_output():
            continue
        first, second = total.inputs
        if first is None or second is None or not _same_shape(first, second):
            continue
        fused = ir.node(
            "SkipLayerNormalization",
            [first, second, *norm.inputs[1:]],
            {"epsilon": norm.attributes.get_float("epsilon", 1e-5)},
            num_outputs=4,  # the normalized sum, two that only training has, the sum
            domain=_MICROSOFT,
        )
        result, _, _, summed = fused.outputs
        for new, old in ((result, norm.outputs[0]), (summed, total.outputs[0])):
            new.shape, new.type, new.name = old.shape, old.type, old.name
        graph.insert_before(total, fused)
        ir.convenience.replace_all_uses_with([total.outputs[0], norm.outputs[0]], [summed, result])
        graph.remove([norm, total], safe=True)
        changed += 1
    return changed


def _same_shape(a: ir.Value, b: ir.Value) -> bool:
    return a.shape is not None and b.shape is not None and len(a.shape) == 3 and a.shape == b.shape
