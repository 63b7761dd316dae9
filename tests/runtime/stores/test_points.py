"""What Qdrant is given."""

from __future__ import annotations

from uuid import uuid5

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from spladert.qdrant.points import NAMESPACE, point_id, quoted_paths, rows_of_entries, sorted_entries
from spladert.vectors import SparseVector, SparseVectors


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_ids_are_uuids_by_name(document_id: str) -> None:
    assert point_id(document_id) == str(uuid5(NAMESPACE, document_id))


def test_an_id_stays_the_same_for_ever() -> None:
    assert point_id("문서 1") == "fc9e5536-475d-5b36-9ca9-d06cea660750"


def test_entries_ascend() -> None:
    vector = SparseVector(np.array([7, 3, 5], np.int32), np.array([3.0, 2.0, 1.0], np.float32))
    assert sorted_entries(vector) == ([3, 5, 7], [2.0, 1.0, 3.0])


def test_entries_of_many_are_those_of_each() -> None:
    chance = np.random.default_rng(3)
    lengths = [4, 0, 1, 0, 7]
    rows = [SparseVector(chance.permutation(9)[:n].astype(np.int32), np.ones(n, np.float32)) for n in lengths]
    assert rows_of_entries(SparseVectors.from_rows(rows, 9)) == [sorted_entries(row) for row in rows]
    assert rows_of_entries(SparseVectors.from_rows([], 9)) == []


def test_fields_are_names_and_paths() -> None:
    assert quoted_paths("year") == ['"year"']
    assert quoted_paths("a.b") == ['"a.b"', '"a"."b"']
    assert quoted_paths("a..b") == ['"a..b"']
