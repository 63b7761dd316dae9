"""Whether engines give the same vectors: each one's heaviest entries against the first engine's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .workload import LENGTHS, Workload

HEAVIEST = 10
TEXTS_OF_A_LENGTH = 16

Entries = list[tuple[int, float]]  # (token id, weight), heaviest first


def texts_to_agree_on(workload: Workload) -> list[str]:
    """Texts of all lengths for one call, so that the shorter ones are padded."""
    return [text for length in LENGTHS for text in workload.by_length.get(length, [])[:TEXTS_OF_A_LENGTH]]


def heaviest(output: Any) -> list[Entries]:
    """The HEAVIEST entries of each text, of whatever an engine gives: spladert's vectors, a [B, V] tensor, or integer
    ids and weights [B, k] in either order."""
    import numpy as np

    if hasattr(output, "indptr"):
        rows = [list(vector.to_dict().items()) for vector in output]
    elif hasattr(output, "to_dense"):
        rows = [list(enumerate(row)) for row in output.to_dense().float().tolist()]
    else:
        ids, weights = sorted((np.asarray(part) for part in output), key=lambda part: part.dtype.kind != "i")
        rows = [list(zip(*pair, strict=True)) for pair in zip(ids.tolist(), weights.tolist(), strict=True)]
    return [sorted(row, key=lambda entry: -entry[1])[:HEAVIEST] for row in rows]


def agreement(reference: Sequence[Entries], found: Sequence[Entries]) -> Mapping[str, float]:
    """`overlap`: mean share of the reference's heaviest ids that are among the found ones. `weight_error`: largest
    difference of weights of ids in both."""
    shares, errors = [], [0.0]
    for expected, given in zip(reference, found, strict=True):
        weights = dict(given)
        both = [(weight, weights[i]) for i, weight in expected if i in weights]
        shares.append(len(both) / len(expected))
        errors += [abs(left - right) for left, right in both]
    return {"texts": len(shares), "overlap": sum(shares) / len(shares), "weight_error": max(errors)}
