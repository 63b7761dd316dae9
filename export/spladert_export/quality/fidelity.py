"""How far sparse vectors are from the reference's dense weights."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spladert import SparseVector


@dataclass(frozen=True)
class Fidelity:
    """Differences between vectors and the reference over a set of texts.

    Attributes:
        texts: number of texts measured.
        max_weight_error: largest absolute difference of a weight. An entry that a full vector (`top_k` entries) left
            out counts by how much it exceeds the smallest weight kept.
        mean_weight_error: mean absolute difference over the entries that either side has.
        top10_overlap: mean share of the reference's 10 heaviest ids that are among the 10 heaviest here.
        top10_same: share of texts whose 10 heaviest ids are the same set.
        top_k_overlap: the same mean share for all of the reference's entries, at most `top_k` of them.
        top1_differs: share of texts whose heaviest id differs.
        dot_product_drift: mean absolute difference of the dot products of pairs of texts, over their mean; the
            reference's vectors are cut to `top_k` entries too.
        active_dimensions: mean number of entries a text.
    """

    texts: int
    max_weight_error: float
    mean_weight_error: float
    top10_overlap: float
    top10_same: float
    top_k_overlap: float
    top1_differs: float
    dot_product_drift: float
    active_dimensions: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def compare(chunks: Iterable[tuple[Sequence[SparseVector], NDArray[np.float32]]], top_k: int) -> Fidelity:
    """Measure (vectors, reference weights [texts, V]) chunk by chunk; pairs for dot products are within a chunk."""
    largest = error_sum = drift_sum = dot_sum = 0.0
    entries = texts = top1 = same10 = active = 0
    overlap10 = overlap_k = 0.0
    for vectors, reference in chunks:
        ours, kept = np.zeros_like(reference), np.zeros_like(reference)
        for row, vector in enumerate(vectors):
            ours[row, vector.indices] = vector.values
            expected = reference[row]
            order = np.argsort(-expected, kind="stable")[:top_k]
            order = order[expected[order] > 0]
            kept[row, order] = expected[order]
            error = np.abs(ours[row] - expected)
            if len(vector) == top_k:  # full: what was left out is at most the smallest kept
                left_out = ours[row] == 0
                error[left_out] = np.maximum(expected[left_out] - vector.values[-1], 0)
            either = (ours[row] > 0) | (expected > 0)
            largest = float(np.maximum(largest, error.max()))  # unlike max(), keeps a NaN
            error_sum += float(error[either].sum())
            entries += int(either.sum())
            top10 = set(order[:10].tolist())
            ours10 = set(vector.indices[:10].tolist())
            overlap10 += _share(top10, ours10)
            overlap_k += _share(set(order.tolist()), set(vector.indices.tolist()))
            same10 += top10 == ours10
            top1 += order[:1].tolist() != vector.indices[:1].tolist()
            active += len(vector)
        drift_sum += float(np.abs(ours @ ours.T - kept @ kept.T).sum())
        dot_sum += float((kept @ kept.T).sum())
        texts += len(vectors)
    count = max(texts, 1)
    return Fidelity(
        texts=texts,
        max_weight_error=largest,
        mean_weight_error=error_sum / max(entries, 1),
        top10_overlap=overlap10 / count,
        top10_same=same10 / count,
        top_k_overlap=overlap_k / count,
        top1_differs=top1 / count,
        dot_product_drift=drift_sum / dot_sum if dot_sum else 0.0,
        active_dimensions=active / count,
    )


def _share(expected: set[int], found: set[int]) -> float:
    return len(expected & found) / len(expected) if expected else 1.0 if not found else 0.0
