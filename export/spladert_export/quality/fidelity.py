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


def compare(batches: Iterable[tuple[Sequence[SparseVector], Sequence[SparseVector]]], top_k: int) -> Fidelity:
    """Measure (vectors, reference vectors) batch by batch; pairs for dot products are within a batch.

    A reference vector has all entries, by falling weight, while a vector has `top_k` at most.
    """
    largest = error_sum = drift_sum = dot_sum = 0.0
    entries = texts = top1 = same10 = active = 0
    overlap10 = overlap_k = 0.0
    for vectors, reference in batches:
        kept = [SparseVector(whole.indices[:top_k], whole.values[:top_k]) for whole in reference]
        for vector, whole in zip(vectors, reference, strict=True):
            error = _errors(vector, whole, top_k)
            largest = float(np.maximum(largest, error.max(initial=0)))  # unlike max(), keeps a NaN
            error_sum += float(error.sum())
            entries += len(error)
            expected = whole.indices[:top_k].tolist()
            found = vector.indices.tolist()
            overlap10 += _share(set(expected[:10]), set(found[:10]))
            overlap_k += _share(set(expected), set(found))
            same10 += set(expected[:10]) == set(found[:10])
            top1 += expected[:1] != found[:1]
            active += len(vector)
        ours_dots, dots = _dots(vectors), _dots(kept)
        drift_sum += float(np.abs(ours_dots - dots).sum())
        dot_sum += float(dots.sum())
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


def _errors(vector: SparseVector, whole: SparseVector, top_k: int) -> NDArray[np.float64]:
    """|weight - expected| of each entry that either has."""
    ids = np.union1d(vector.indices, whole.indices)
    ours, expected = (_spread(x, ids) for x in (vector, whole))
    error = np.abs(ours - expected)
    if len(vector) == top_k:  # full: what was left out is at most the smallest kept
        left_out = ours == 0
        error[left_out] = np.maximum(expected[left_out] - vector.values[-1], 0)
    return error


def _spread(vector: SparseVector, ids: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
    """The weights of `ids`, ascending, all of the vector's among them."""
    weights = np.zeros(len(ids))
    weights[np.searchsorted(ids, vector.indices)] = vector.values
    return weights


def _dots(vectors: Sequence[SparseVector]) -> NDArray[np.float64]:
    """The dot products of all pairs, [texts, texts]."""
    ids = np.unique(np.concatenate([vector.indices for vector in vectors]))
    dense = np.array([_spread(vector, ids) for vector in vectors])
    return np.asarray(dense @ dense.T)
