"""int4's blocks, and that the kernel reads them as they are packed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch", reason="needs the export extra: pip install 'spladert[export]'")
ir = pytest.importorskip("onnx_ir", reason="needs the export extra: pip install 'spladert[export]'")

from spladert_export.graph.edit import describe, initializer  # noqa: E402
from spladert_export.quantize.int4 import BLOCK, quantize_blocks, quantize_linear, replace_linear  # noqa: E402
from spladert_export.quantize.sites import Linear  # noqa: E402


@given(st.integers(1, 100), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_blocks_of_4_bits_come_back_within_a_step(rows: int, columns: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    weight = random.standard_normal((rows, columns)).astype(np.float32)
    blocks = quantize_blocks(weight, random.random(rows, dtype=np.float32))
    assert blocks.integers.max() <= 15
    assert blocks.zero_points.max() <= 15
    step = np.repeat(blocks.scales[:, 0], BLOCK, axis=0)[:rows]
    inside = (blocks.integers.reshape(-1, columns)[:rows] % 15) > 0  # a clipped range cuts what is at its ends
    assert (np.abs(blocks.weight(rows) - weight) <= step * 0.501)[inside].all()


def test_a_range_is_clipped_where_that_costs_less() -> None:
    """One weight that hardly counts is cut, for the sake of those that do."""
    weight = np.linspace(0, 1, BLOCK, dtype=np.float32)[:, None]
    weight[-1] = 1.3
    counts = np.ones(BLOCK, np.float32)
    whole = quantize_blocks(weight, counts)
    counts[-1] = 1e-3
    clipped = quantize_blocks(weight, counts)
    assert clipped.scales[0, 0, 0] < whole.scales[0, 0, 0]
    errors = [np.abs(blocks.weight(BLOCK) - weight)[:-1].mean() for blocks in (clipped, whole)]
    assert errors[0] < errors[1]


@pytest.mark.parametrize("rows", [32, 96, 100])  # whole blocks, an odd number of them, a part of one
def test_the_kernel_reads_4_bits_as_they_are_packed(rows: int) -> None:
    """The operator's product is the one with the weights that the blocks stand for."""
    from onnxruntime import InferenceSession

    random = np.random.default_rng(rows)
    weight = random.standard_normal((rows, 6)).astype(np.float32) + 0.3  # zero points that differ
    x = ir.Value(name="x")
    describe(x, "x", ir.DataType.FLOAT, ir.Shape([4, rows]))
    graph = ir.Graph([x], [], nodes=[], opset_imports={"": 21, "com.microsoft": 1})
    product = ir.node("MatMul", [x, initializer(graph, "w", weight)])
    identity = ir.node("Identity", product.outputs)
    for node, name in ((product, "y"), (identity, "out")):
        describe(node.outputs[0], name, ir.DataType.FLOAT, ir.Shape([4, 6]))
    graph.extend([product, identity])
    graph.outputs.append(identity.outputs[0])
    importance = np.ones(rows, np.float32)
    linear = Linear(product)
    replace_linear(graph, linear, quantize_linear(linear, importance))
    model = ir.to_proto(ir.Model(graph, ir_version=10))
    session = InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    given = random.standard_normal((4, rows)).astype(np.float32)
    expected = given @ quantize_blocks(weight, importance).weight(rows)
    found = session.run(None, {"x": given})[0]
    assert np.linalg.norm(found - expected) < 0.02 * np.linalg.norm(expected)  # activations are rounded to int8
