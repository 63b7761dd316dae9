"""Made-up vectors and records."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from spladert import SparseVector, SparseVectors
from spladert.files import Record


def sparse_vectors(content: Sequence[dict[int, float]], vocabulary_size: int = 100) -> SparseVectors:
    """Vectors of `{token id: weight}`."""
    rows = [SparseVector(np.array(list(row), np.int32), np.array(list(row.values()), np.float32)) for row in content]
    return SparseVectors.from_rows(rows, vocabulary_size)


def records_of(ids: Sequence[str | int]) -> list[Record]:
    return [Record(line, id, "") for line, id in enumerate(ids, start=1)]
