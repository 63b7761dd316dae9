"""Each rewrite on a tiny graph: what it does, that it changes no value, and where it must not fire."""

from __future__ import annotations

import numpy as np
import pytest

ir = pytest.importorskip("onnx_ir", reason="needs the export extra: pip install 'spladert[export]'")
ort = pytest.importorskip("onnxruntime")

from spladert_export.graph.passes import optimize  # noqa: E402
from spladert_export.graph.passes.collapse_reshapes import collapse_reshapes  # noqa: E402
from spladert_export.graph.passes.split_projections import split_projections  # noqa: E402
from spladert_export.graph.passes.strip_metadata import strip_metadata  # noqa: E402

HEADER = '<ir_version: 10, opset_import: ["" : 21]>\n'
RNG = np.random.default_rng(0)
WEIGHT = RNG.standard_normal((4, 12)).astype(np.float32)
X = RNG.standard_normal((2, 3, 4)).astype(np.float32)


def parse(text: str) -> ir.Model:
    import onnx

    proto = onnx.parser.parse_model(HEADER + text)
    for initializer in proto.graph.initializer:
        if initializer.name == "w":
            initializer.CopyFrom(onnx.numpy_helper.from_array(WEIGHT, "w"))
    return ir.serde.deserialize_model(onnx.shape_inference.infer_shapes(proto, data_prop=True))


def run(model: ir.Model, **inputs: np.ndarray) -> list[np.ndarray]:
    import onnx

    proto: onnx.ModelProto = ir.serde.serialize_model(model)
    return list(ort.InferenceSession(proto.SerializeToString()).run(None, inputs))


def operators(model: ir.Model) -> list[str]:
    return [node.op_type for node in model.graph]


SPLIT = """
agraph (float[b, s, 4] x) => (float[b, s, 6] y) <float[4, 12] w = {0}> {
    p = MatMul(x, w)
    a, g = Split <axis = -1, num_outputs = 2> (p)
    y = Mul(a, g)
}"""

QKV = """
agraph (float[b, s, 4] x) => (float[b, s, 2, 2] q, float[b, s, 2, 2] k, float[b, s, 2, 2] v)
<float[4, 12] w = {0}, int64[5] shape = {0, 0, 3, 2, 2}, int64[1] i0 = {0}, int64[1] i1 = {1}, int64[1] i2 = {2},
 int64[1] i3 = {3}, int64[1] axis = {2}, int64[3] merged = {0, 0, 4}, int64[4] heads = {0, 0, 2, 2}> {
    p = MatMul(x, w)
    r = Reshape(p, shape)
    q1 = Slice(r, i0, i1, axis)
    q2 = Squeeze(q1, axis)
    q3 = Reshape(q2, merged)
    q = Reshape(q3, heads)
    k1 = Slice(r, i1, i2, axis)
    k2 = Squeeze(k1, axis)
    k3 = Reshape(k2, merged)
    k = Reshape(k3, heads)
    v1 = Slice(r, i2, i3, axis)
    v2 = Squeeze(v1, axis)
    v3 = Reshape(v2, merged)
    v = Reshape(v3, heads)
}"""


@pytest.mark.parametrize(("text", "parts"), [(SPLIT, 2), (QKV, 3)])
def test_a_cut_projection_becomes_one_projection_a_part(text: str, parts: int) -> None:
    model = parse(text)
    before = run(model, x=X)
    optimize(model)
    assert operators(model).count("MatMul") == parts
    assert not {"Split", "Slice", "Squeeze"} & set(operators(model))
    for old, new in zip(before, run(model, x=X), strict=True):
        np.testing.assert_allclose(new, old, rtol=1e-6)


@pytest.mark.parametrize(
    "text",
    [
        # the whole projection is used too
        SPLIT.replace("(float[b, s, 6] y)", "(float[b, s, 6] y, float[b, s, 12] z)").replace(
            "y = Mul(a, g)", "y = Mul(a, g)\n z = Relu(p)"
        ),
        # the projection is an output
        SPLIT.replace("(float[b, s, 6] y)", "(float[b, s, 6] y, float[b, s, 12] p)"),
        # not by a constant
        SPLIT.replace("(float[b, s, 4] x)", "(float[b, s, 4] x, float[4, 12] w)").replace("<float[4, 12] w = {0}>", ""),
        # cut along the sequence, not along the columns
        """
        agraph (float[b, 4, 4] x) => (float[b, 2, 12] y) <float[4, 12] w = {0}> {
            p = MatMul(x, w)
            a, g = Split <axis = 1, num_outputs = 2> (p)
            y = Mul(a, g)
        }""",
    ],
)
def test_no_split_where_the_whole_is_needed(text: str) -> None:
    model = parse(text)
    before = operators(model)
    assert split_projections(model) == 0
    assert operators(model) == before


def test_reshapes_that_cancel_are_bypassed() -> None:
    model = parse("""
    agraph (float[b, s, 4] x) => (float[b, s, 4] y)
    <int64[4] heads = {0, 0, 2, 2}, int64[3] merged = {0, 0, 4}> {
        a = Relu(x)
        h = Reshape(a, heads)
        m = Reshape(h, merged)
        y = Neg(m)
    }""")
    assert collapse_reshapes(model) == 1
    before = run(model, x=X)
    optimize(model)
    assert operators(model) == ["Relu", "Neg"]
    np.testing.assert_array_equal(run(model, x=X)[0], before[0])


def test_reshapes_that_differ_stay() -> None:
    model = parse("""
    agraph (float[b, s, 4] x) => (float[s, b, 4] y) <int64[4] heads = {0, 0, 2, 2}> {
        h = Reshape(x, heads)
        bs = Shape <start = 0, end = 1> (x)
        ss = Shape <start = 1, end = 2> (x)
        four = Constant <value_ints = [4]> ()
        turned = Concat <axis = 0> (ss, bs, four)
        m = Reshape(h, turned)
        y = Neg(m)
    }""")
    assert collapse_reshapes(model) == 0


def test_no_metadata_is_left() -> None:
    model = parse(SPLIT)
    model.metadata_props["path"] = "/home/someone"
    next(iter(model.graph)).metadata_props["pkg.torch.onnx.stack_trace"] = "/home/someone/model.py"
    assert strip_metadata(model) == 1
    import onnx

    proto: onnx.ModelProto = ir.serde.serialize_model(model)
    assert b"/home/someone" not in proto.SerializeToString()
