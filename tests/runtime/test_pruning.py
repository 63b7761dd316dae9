"""Pruning against a plain reading of OpenSearch's definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spladert import SparseVector, SparseVectors
from spladert.errors import InputError
from spladert.pruning import Pruning, prune

ROWS = st.lists(st.lists(st.floats(2.0**-10, 8, width=32), max_size=12), max_size=6)


def vectors_of(rows: list[list[float]]) -> SparseVectors:
    return SparseVectors.from_rows(
        [SparseVector(np.arange(len(row), dtype=np.int32), np.array(sorted(row)[::-1], np.float32)) for row in rows],
        vocabulary_size=20,
    )


def expected(row: list[float], kind: str, value: float) -> list[float]:
    """OpenSearch's own way, an entry at a time in float32."""
    weights = [np.float32(weight) for weight in sorted(row)[::-1]]
    bound = np.float32(value)
    if kind == "top_k":
        return [float(weight) for weight in weights[: int(value)]]
    if kind == "max_ratio":
        return [float(weight) for weight in weights if weight >= bound * weights[0]]
    if kind == "abs_value":
        return [float(weight) for weight in weights if weight >= bound]
    total, sum_so_far, kept = np.float32(sum(map(float, weights))), np.float32(0), []
    for weight in weights:
        sum_so_far += weight
        if sum_so_far <= bound * total:
            kept.append(float(weight))
    return kept


@pytest.mark.parametrize("kind", ["top_k", "max_ratio", "abs_value", "alpha_mass"])
@given(rows=ROWS, data=st.data())
def test_each_kind_keeps_what_opensearch_keeps(kind: str, rows: list[list[float]], data: st.DataObject) -> None:
    value = data.draw(st.integers(1, 14) if kind == "top_k" else st.floats(0, 0.875, width=32))
    vectors = vectors_of(rows)
    pruned = prune(vectors, Pruning(kind, value))
    assert [row.values.tolist() for row in pruned] == [expected(row, kind, value) for row in rows]
    assert all(row.indices.tolist() == list(range(len(row))) for row in pruned)
    assert pruned.vocabulary_size == vectors.vocabulary_size


def test_a_pruning_is_written_as_it_is_read() -> None:
    for text in ("top_k:100", "max_ratio:0.1", "abs_value:0.25", "alpha_mass:0.9"):
        assert str(Pruning.parse(text)) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_ratio", "write KIND:VALUE"),
        ("max_ratio:", "write KIND:VALUE"),
        ("max_ratio:nan", "write KIND:VALUE"),
        ("half:0.5", "choose one of top_k, max_ratio"),
        ("top_k:0", "a whole number of at least 1"),
        ("top_k:2.5", "a whole number of at least 1"),
        ("top_k:inf", "a whole number of at least 1"),
        ("max_ratio:1", "0 to less than 1"),
        ("alpha_mass:-0.1", "0 to less than 1"),
        ("abs_value:-1", "0 or more"),
    ],
)
def test_what_is_no_pruning_is_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Pruning.parse(text)
