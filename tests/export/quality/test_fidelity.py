"""The fidelity report on vectors whose differences are known."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the export extra: pip install 'spladert[export]'")

from spladert import SparseVector
from spladert_export.quality.fidelity import compare


def vector(weights: dict[int, float]) -> SparseVector:
    ordered = sorted(weights.items(), key=lambda pair: -pair[1])
    return SparseVector(np.array([i for i, _ in ordered], np.int32), np.array([w for _, w in ordered], np.float32))


def dense(weights: dict[int, float]) -> np.ndarray:
    row = np.zeros(50, np.float32)
    for index, weight in weights.items():
        row[index] = weight
    return row


def test_equal_vectors() -> None:
    weights = {3: 2.0, 7: 1.0}
    report = compare([([vector(weights)], dense(weights)[None])], top_k=10)
    assert (report.max_weight_error, report.mean_weight_error, report.dot_product_drift) == (0, 0, 0)
    assert (report.top10_overlap, report.top10_same, report.top_k_overlap, report.top1_differs) == (1, 1, 1, 0)
    assert (report.texts, report.active_dimensions) == (1, 2)


def test_known_differences() -> None:
    report = compare([([vector({3: 2.0, 8: 1.0})], dense({3: 1.5, 7: 3.0})[None])], top_k=10)
    assert report.max_weight_error == 3.0  # 7 is missing though there was room
    assert report.mean_weight_error == pytest.approx((0.5 + 3.0 + 1.0) / 3)
    assert report.top10_overlap == report.top_k_overlap == 0.5
    assert report.top10_same == 0
    assert report.top1_differs == 1
    assert report.dot_product_drift == pytest.approx(abs(5.0 - 11.25) / 11.25)


def test_an_entry_left_out_for_lack_of_room_counts_by_its_excess() -> None:
    report = compare([([vector({1: 3.0, 2: 1.0})], dense({1: 3.0, 2: 1.0, 4: 1.25, 5: 0.5})[None])], top_k=2)
    assert report.max_weight_error == 0.25


def test_what_is_not_a_number_is_not_lost() -> None:
    chunks = [([vector({1: weight})], dense({1: expected})[None]) for weight, expected in ((1.0, np.nan), (1.0, 1.0))]
    assert np.isnan(compare(chunks, top_k=2).max_weight_error)


def test_texts_without_entries() -> None:
    report = compare([([vector({})], dense({})[None])], top_k=10)
    assert (report.top10_overlap, report.top10_same, report.max_weight_error) == (1, 1, 0)
    report = compare([([vector({1: 1.0})], dense({})[None])], top_k=10)
    assert report.top10_overlap == 0
