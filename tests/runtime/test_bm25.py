"""BM25's entries, beside its formula written out."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spladert.bm25 import LENGTH, B, K, document_entries

documents = st.lists(st.lists(st.integers(0, 60_000), max_size=40), max_size=6)


def test_a_token_counts_the_less_the_more_often_it_is_there() -> None:
    [(ids, weights)] = document_entries([[7, 3, 7, 7]])
    norm = K * (1 - B + B * 4 / LENGTH)
    assert ids == [3, 7]
    assert weights == pytest.approx([(K + 1) / (1 + norm), 3 * (K + 1) / (3 + norm)])


@given(documents)
def test_as_the_formula_has_it_whatever_is_beside(token_ids: list[list[int]]) -> None:
    found = document_entries(token_ids)
    assert len(found) == len(token_ids)
    for (ids, weights), row in zip(found, token_ids, strict=True):
        counts = Counter(row)
        norm = K * (1 - B + B * len(row) / LENGTH)
        assert ids == sorted(counts)
        assert weights == pytest.approx([counts[i] * (K + 1) / (counts[i] + norm) for i in ids])
