"""Each stage against plain arithmetic, with every instruction set."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spladert.engine.native.description import Norm, Quantization
from support.encoders import attention, gelu, to_bytes
from support.kernels import Stages

few = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def sums(a: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return a.astype(np.int64) @ weight.astype(np.int64)


@few
@given(rows=st.integers(1, 70), inner=st.integers(1, 200), columns=st.integers(1, 100), seed=st.integers(0, 2**32 - 1))
def test_int8_product_is_exact_for_any_shape(stages: Stages, rows: int, inner: int, columns: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a = rng.integers(0, 256, (rows, inner)).astype(np.uint8)
    weight = rng.integers(-64, 65, (inner, columns)).astype(np.int8)
    np.testing.assert_array_equal(stages.product(a, weight), sums(a, weight))


@pytest.mark.parametrize("weight_value", [-64, 64])
def test_int8_product_of_the_greatest_values_does_not_saturate(stages: Stages, weight_value: int) -> None:
    a = np.full((13, 1152), 255, np.uint8)
    weight = np.full((1152, 40), weight_value, np.int8)
    np.testing.assert_array_equal(stages.product(a, weight), sums(a, weight))


def test_int8_product_of_8_bit_weights_is_exact_but_for_avx2(stages: Stages) -> None:
    rng = np.random.default_rng(0)
    a = rng.choice(np.array([0, 255], np.uint8), (20, 128))
    weight = rng.choice(np.array([-128, 127], np.int8), (128, 64))
    exact = np.array_equal(stages.product(a, weight), sums(a, weight))
    assert exact == (stages.isa != "avx2")  # which adds pairs in 16 bits


def test_int8_product_of_zero_rows_and_columns_is_zero(stages: Stages) -> None:
    a, weight = np.full((18, 96), 7, np.uint8), np.full((96, 50), 3, np.int8)
    a[[0, 5, 17]], weight[:, [0, 31, 49]] = 0, 0
    found = stages.product(a, weight)
    np.testing.assert_array_equal(found, sums(a, weight))
    assert not found[[0, 5, 17]].any()
    assert not found[:, [0, 31, 49]].any()


@few
@given(rows=st.integers(1, 30), inner=st.integers(1, 150), columns=st.integers(1, 70), seed=st.integers(0, 2**32 - 1))
def test_float_product_is_near_for_any_shape(stages: Stages, rows: int, inner: int, columns: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a = rng.standard_normal((rows, inner)).astype(np.float32)
    weight = rng.standard_normal((inner, columns)).astype(np.float32)
    np.testing.assert_allclose(stages.float_product(a, weight), a @ weight, rtol=1e-4, atol=1e-4)


def test_float_product_of_a_row_does_not_depend_on_its_neighbours(stages: Stages) -> None:
    rng = np.random.default_rng(0)
    a, weight = (rng.standard_normal(shape).astype(np.float32) for shape in ((31, 192), (192, 64)))
    together = stages.float_product(a, weight)
    for rows in (1, 2, 5, 7, 25):
        np.testing.assert_array_equal(stages.float_product(a[:rows].copy(), weight), together[:rows])


@few
@given(
    length=st.integers(1, 300),
    head_size=st.sampled_from([32, 64, 96, 128]),
    window=st.sampled_from([0, 1, 16, 64, 100]),
    seed=st.integers(0, 2**32 - 1),
)
def test_attention_of_any_length_and_window(
    stages: Stages, length: int, head_size: int, window: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    q, k, v = (rng.standard_normal((length, head_size)).astype(np.float32) for _ in range(3))
    to = Quantization(0.02, 128)
    found = stages.attention(q, k, v, head_size**-0.5, window, to)
    expected = attention(q, k, v, head_size**-0.5, window) / to.scale + to.zero_point
    # Half a step of rounding; with tiles, queries, keys, values and probabilities have 8 bits of mantissa too.
    steps = 4.0 if stages.isa == "amx" else 0.51
    assert np.abs(found - np.clip(expected, 0, 255)).max() <= steps


def test_attention_survives_large_scores(stages: Stages) -> None:
    q = np.full((9, 64), 30, np.float32)
    k, v = q.copy(), np.zeros((9, 64), np.float32)
    k[3], v[3] = 31, 1  # one key far ahead of the others
    found = stages.attention(q, k, v, 1.0, 0, Quantization(1 / 100, 50))
    assert (found == 150).all()


@few
@given(
    rows=st.integers(1, 20), units=st.integers(1, 16), zero_point=st.integers(0, 255), seed=st.integers(0, 2**32 - 1)
)
def test_norm_is_within_a_rounding_step(stages: Stages, rows: int, units: int, zero_point: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    hidden = units * 64
    x = (rng.standard_normal((rows, hidden)) * rng.uniform(0.1, 50) + rng.uniform(-20, 20)).astype(np.float32)
    norm = Norm(rng.standard_normal(hidden).astype(np.float32), rng.standard_normal(hidden).astype(np.float32), 1e-5)
    to = Quantization(0.03, zero_point)
    centred = x - x.mean(axis=1, keepdims=True, dtype=np.float64)
    y = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + norm.epsilon) * norm.weight + norm.bias
    expected = np.clip(y / to.scale + zero_point, 0, 255)  # a negative value under a zero point of 0 is cut to 0
    assert np.abs(stages.norm(x, norm, to) - expected).max() <= 0.52


def test_norm_of_constant_and_zero_rows_is_the_bias(stages: Stages) -> None:
    x = np.zeros((3, 128), np.float32)
    x[1] = 5
    norm = Norm(np.ones(128, np.float32), np.linspace(-1, 1, 128, dtype=np.float32), 1e-12)
    to = Quantization(1 / 64, 100)
    np.testing.assert_array_equal(stages.norm(x, norm, to), np.tile(to_bytes(norm.bias, to), (3, 1)))


def test_gelu_is_accurate_and_saturates(stages: Stages) -> None:
    x = np.concatenate([np.linspace(-12, 12, 1584), [0, -0.0, 1e-30, -1e-30, 100, -100, 1e4, -1e4] * 2])
    x = x.astype(np.float32)
    np.testing.assert_allclose(stages.gelu(x), gelu(x), atol=5e-5, rtol=2e-5)
