"""Roles of layers: the same names for the same parts, whatever the architecture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from support.checkpoints import ARCHITECTURES, LAYERS

pytest.importorskip("torch", reason="needs the export extra: pip install 'spladert[export]'")
onnx = pytest.importorskip("onnx", reason="needs the export extra: pip install 'spladert[export]'")
ir = pytest.importorskip("onnx_ir", reason="needs the export extra: pip install 'spladert[export]'")

from spladert_export.graph.roles import layer_roles, value_roles  # noqa: E402

PARTS = ("attention.qkv", "attention.output", "mlp.input", "mlp.output")
ROLES = [*(f"layers.{layer}.{part}" for layer in range(LAYERS) for part in PARTS), "head.dense", "decoder"]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_has_the_same_roles(architecture: str, bundle_of: Callable[[str], Path]) -> None:
    graph = ir.load(bundle_of(architecture) / "cpu-fp32.onnx").graph
    found = layer_roles(graph)
    assert list(dict.fromkeys(found.values())) == ROLES
    for layer in range(LAYERS):
        assert list(found.values()).count(f"layers.{layer}.attention.qkv") == 3
    values = set(value_roles(graph).values())
    assert values >= {*ROLES, "embedding"}
    for layer in range(LAYERS):
        assert values >= {f"layers.{layer}.{part}" for part in ("attention", "attention.residual", "mlp.residual")}


PROJECTED = """
<ir_version: 10, opset_import: ["" : 23]>
agraph (int64[b, s] ids) => (float[b, s, 8] y)
<float[9, 2] table = {0}, float[2, 4] widen = {0}, float[4, 4] wq = {0}, float[4, 4] wo = {0}, float[4, 4] first = {0},
 float[4, 4] second = {0}, float[8, 4] rows = {0}, int64[2] flat = {-1, 4}, int64[3] whole = {0, -1, 8}> {
    e = Gather(table, ids)
    x = MatMul(e, widen)
    q = MatMul(x, wq)
    a = Attention <q_num_heads = 1, kv_num_heads = 1> (q, q, q)
    o = MatMul(a, wo)
    r = Add(x, o)
    h = MatMul(r, first)
    g = Relu(h)
    d = MatMul(g, second)
    s1 = Add(r, d)
    t = Reshape(s1, flat)
    l = Gemm <transB = 1> (t, rows)
    y = Reshape(l, whole)
}"""


def roles_of(text: str) -> list[str]:
    proto = onnx.shape_inference.infer_shapes(onnx.parser.parse_model(text))
    return list(layer_roles(ir.serde.deserialize_model(proto).graph).values())


def test_a_projected_embedding_and_a_head_without_a_layer() -> None:
    roles = [f"layers.0.{part}" for part in PARTS]
    assert roles_of(PROJECTED) == ["embedding.projection", *roles, "decoder"]


def test_two_layers_in_one_role_are_numbered() -> None:
    """Whatever a graph is like, a role names one activation."""
    twice = PROJECTED.replace("d = MatMul(g, second)", "c = MatMul(g, second)\n n = Neg(c)\n d = MatMul(n, second)")
    found = roles_of(twice)
    assert found[-3:] == ["layers.0.mlp.output", "layers.0.mlp.output.2", "decoder"]
