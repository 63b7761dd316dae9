"""int8's integers: weights, activations, and why they have the bits that they have."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch", reason="needs the export extra: pip install 'spladert[export]'")
onnx = pytest.importorskip("onnx", reason="needs the export extra: pip install 'spladert[export]'")

from spladert_export.quantize import qdq  # noqa: E402
from spladert_export.quantize.int8 import GRID, WEIGHT_LIMIT, activation_scale, quantize_weight  # noqa: E402

floats = st.floats(-1e4, 1e4, width=32)


def test_the_largest_integers_do_not_saturate() -> None:
    """x86 without VNNI adds pairs of u8 * s8 in 16 bits: with 8-bit weights this product is wrong there."""
    from onnx import TensorProto, helper
    from onnxruntime import InferenceSession

    rows, columns = 64, 32
    node = helper.make_node("MatMulInteger", ["x", "w"], ["y"])
    x = helper.make_tensor_value_info("x", TensorProto.UINT8, [None, rows])
    y = helper.make_tensor_value_info("y", TensorProto.INT32, [None, columns])
    weight = np.full((rows, columns), WEIGHT_LIMIT, np.int8)
    graph = helper.make_graph([node], "product", [x], [y], [onnx.numpy_helper.from_array(weight, "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    session = InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    largest = np.full((3, rows), 255, np.uint8)
    np.testing.assert_array_equal(session.run(None, {"x": largest})[0], rows * 255 * WEIGHT_LIMIT)


@given(floats, floats)
def test_an_activation_range_holds_zero_exactly(a: float, b: float) -> None:
    low, high = min(a, b), max(a, b)
    scale, zero_point = activation_scale(low, high)
    assert 0 <= zero_point <= 255
    assert (0 - zero_point) * scale <= min(low, 0) + scale
    assert (255 - zero_point) * scale >= max(high, 0) - scale
    assert GRID.round_trip(np.zeros(1, np.float32), scale, zero_point) == 0


@given(floats, floats)
def test_a_symmetric_range_is_exact_in_fp16(a: float, b: float) -> None:
    low, high = min(a, b, 0), max(a, b, 0)
    scale, zero_point = qdq.activation_scale(low, high)
    assert zero_point == 0
    assert scale == np.float16(scale) > 0
    assert scale * qdq.LIMIT >= max(-low, high) * 0.999


@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_weights_come_back_within_half_a_step(rows: int, columns: int, seed: int) -> None:
    weight = np.random.default_rng(seed).standard_normal((rows, columns)).astype(np.float32)
    integers, scales = quantize_weight(weight)
    assert np.abs(integers.astype(int)).max() == WEIGHT_LIMIT
    assert (np.abs(integers * scales - weight) <= scales * 0.501).all()
