"""The fidelity report on vectors whose differences are known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spladert import SparseVector

pytest.importorskip("torch", reason="needs the export extra: pip install 'spladert[export]'")

from spladert_export.quality.fidelity import compare
from spladert_export.quality.verification import to_sparse


def vector(weights: dict[int, float]) -> SparseVector:
    ordered = sorted(weights.items(), key=lambda pair: -pair[1])
    return SparseVector(np.array([i for i, _ in ordered], np.int32), np.array([w for _, w in ordered], np.float32))


def test_equal_vectors() -> None:
    weights = {3: 2.0, 7: 1.0}
    report = compare([([vector(weights)], [vector(weights)])], top_k=10)
    assert (report.max_weight_error, report.mean_weight_error, report.dot_product_drift) == (0, 0, 0)
    assert (report.top10_overlap, report.top10_same, report.top_k_overlap, report.top1_differs) == (1, 1, 1, 0)
    assert (report.texts, report.active_dimensions) == (1, 2)


def test_known_differences() -> None:
    report = compare([([vector({3: 2.0, 8: 1.0})], [vector({3: 1.5, 7: 3.0})])], top_k=10)
    assert report.max_weight_error == 3.0  # 7 is missing though there was room
    assert report.mean_weight_error == pytest.approx((0.5 + 3.0 + 1.0) / 3)
    assert report.top10_overlap == report.top_k_overlap == 0.5
    assert report.top10_same == 0
    assert report.top1_differs == 1
    assert report.dot_product_drift == pytest.approx(abs(5.0 - 11.25) / 11.25)


def test_an_entry_left_out_for_lack_of_room_counts_by_its_excess() -> None:
    report = compare([([vector({1: 3.0, 2: 1.0})], [vector({1: 3.0, 2: 1.0, 4: 1.25, 5: 0.5})])], top_k=2)
    assert report.max_weight_error == 0.25


def test_what_is_not_a_number_is_not_lost() -> None:
    chunks = [([vector({1: weight})], [vector({1: expected})]) for weight, expected in ((1.0, np.nan), (1.0, 1.0))]
    assert np.isnan(compare(chunks, top_k=2).max_weight_error)


def test_texts_without_entries() -> None:
    report = compare([([vector({})], [vector({})])], top_k=10)
    assert (report.top10_overlap, report.top10_same, report.max_weight_error) == (1, 1, 0)
    report = compare([([vector({1: 1.0})], [vector({})])], top_k=10)
    assert report.top10_overlap == 0


rows = st.lists(st.floats(0, 4, width=32), min_size=12, max_size=12).map(lambda row: np.array(row, np.float32))


@given(st.lists(st.tuples(rows, rows), min_size=1, max_size=5))
def test_sparse_measures_are_those_of_dense_weights(pairs: list[tuple[np.ndarray, np.ndarray]]) -> None:
    ours, expected = (np.array(side) for side in zip(*pairs, strict=True))
    report = compare([([to_sparse(row) for row in ours], [to_sparse(row) for row in expected])], top_k=20)
    error = np.abs(ours - expected)
    assert report.max_weight_error == pytest.approx(error.max(), rel=1e-6)
    assert report.mean_weight_error == pytest.approx(error.sum() / max((ours + expected > 0).sum(), 1), rel=1e-5)
    dots = (expected @ expected.T).sum()
    drift = np.abs(ours @ ours.T - expected @ expected.T).sum() / dots if dots else 0
    assert report.dot_product_drift == pytest.approx(drift, rel=1e-4, abs=1e-5)
    assert report.active_dimensions == (ours > 0).sum() / len(ours)


def test_dense_weights_as_a_vector() -> None:
    found = to_sparse(np.array([0, 1, 0, 3, np.nan, 1], np.float32))
    assert found.indices.tolist() == [3, 1, 5, 4]  # falling, equal ones by id; a NaN is kept, and last
    assert np.isnan(found.values[-1])
