"""Vectors out of batches, and as dictionaries."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from spladert import SparseVector, SparseVectors
from spladert.vectors import TopK

K = 6
rows = st.lists(st.lists(st.integers(1, 50), max_size=K, unique=True), max_size=12)


@given(rows, st.integers(1, K), st.randoms(use_true_random=False))
def test_batches_in_any_order_give_the_rows_in_theirs(content: list[list[int]], top_k: int, random: object) -> None:
    weights = [np.sort(np.array(row, np.float32))[::-1] for row in content]
    order = list(range(len(content)))
    random.shuffle(order)  # type: ignore[attr-defined]
    groups = [order[start : start + 5] for start in range(0, len(order), 5)]

    def batch(positions: list[int]) -> TopK:
        indices, values = np.zeros((len(positions), K), np.int32), np.zeros((len(positions), K), np.float32)
        for row, position in enumerate(positions):
            indices[row, : len(content[position])] = content[position]
            values[row, : len(content[position])] = weights[position]
        return TopK(np.array(positions), indices, values)

    cut = np.arange(len(content)) % 3 == 1
    vectors = SparseVectors.from_batches(map(batch, groups), len(content), 100, top_k=top_k, cut=cut)
    expected = [
        SparseVector(np.array(row[:top_k], np.int32), weight[:top_k])
        for row, weight in zip(content, weights, strict=True)
    ]
    assert list(vectors) == expected
    assert vectors == SparseVectors.from_rows(expected, 100)
    assert vectors.truncated == cut.sum()
    assert [part.truncated for part in (vectors[1:], vectors[::-2])] == [cut[1:].sum(), cut[::-2].sum()]
    assert (vectors.indptr.dtype, vectors.indices.dtype, vectors.values.dtype) == (np.int64, np.int32, np.float32)


def test_texts_in_no_batch_are_empty() -> None:
    assert [len(vector) for vector in SparseVectors.from_batches([], 2, 100)] == [0, 0]


@given(rows)
def test_dictionaries_keep_the_order(content: list[list[int]]) -> None:
    vectors = SparseVectors.from_rows(
        [SparseVector(np.array(row, np.int32), np.arange(len(row), 0, -1).astype(np.float32)) for row in content], 100
    )
    assert [list(found) for found in vectors.to_dicts()] == content
    assert vectors.to_dicts() == [vector.to_dict() for vector in vectors]
