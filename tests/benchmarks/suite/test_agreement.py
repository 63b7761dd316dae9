from __future__ import annotations

import numpy as np
import pytest

from benchmarks.suite.agreement import agreement, heaviest, texts_to_agree_on
from benchmarks.suite.workload import Workload
from spladert import SparseVector, SparseVectors


def test_heaviest_entries_of_all_that_engines_give() -> None:
    torch = pytest.importorskip("torch", reason="needs the export extra: pip install 'spladert[export]'")
    dense = torch.zeros(1, 30)
    dense[0, 7], dense[0, 3] = 1.0, 2.0
    vectors = SparseVectors.from_rows([SparseVector(np.array([3, 7], np.int32), np.array([2, 1], np.float32))], 30)
    unsorted = (np.array([[7, 3]], np.int32), np.array([[1, 2]], np.float32))
    for output in (vectors, dense, dense.to_sparse(), dense.topk(2), unsorted, unsorted[::-1]):
        assert heaviest(output)[0][:2] == [(3, 2.0), (7, 1.0)]


def test_agreement_counts_ids_and_weights() -> None:
    reference = [[(3, 2.0), (7, 1.0)], [(4, 2.0), (5, 1.0)]]
    assert agreement(reference, reference) == {"texts": 2, "overlap": 1.0, "weight_error": 0.0}
    found = [[(3, 1.5), (8, 1.0)], [(4, 2.0), (5, 1.25)]]
    assert agreement(reference, found) == {"texts": 2, "overlap": 0.75, "weight_error": 0.5}


def test_texts_to_agree_on_are_of_all_lengths() -> None:
    by_length = {length: [f"{length} {i}" for i in range(32)] for length in (8, 16, 32, 64, 256)}
    texts = texts_to_agree_on(Workload(by_length, [], []))
    assert texts == [f"{length} {i}" for length in (8, 16, 32, 64) for i in range(16)]
