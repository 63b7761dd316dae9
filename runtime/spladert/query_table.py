"""Queries without a model: a weight for each token of the vocabulary, looked up.

As in inference-free sparse retrieval (Geng et al. 2024, arXiv:2411.04403) and sentence-transformers'
`SparseStaticEmbedding`: a query's vector has each of its tokens once, with the weight that the table gives it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .errors import BundleError
from .vectors import TopK

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROWS = 1024  # queries of a batch


def load_table(path: Path, vocabulary_size: int) -> NDArray[np.float32]:
    """The weights by token id, float32 [vocabulary_size].

    Raises:
        BundleError: the file is not such an array of finite weights of 0 or more.
    """
    try:
        table = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise BundleError(f"{path} is not a table of query weights ({error}); copy or export it again") from None
    if not isinstance(table, np.ndarray) or table.dtype != np.float32 or table.shape != (vocabulary_size,):
        raise BundleError(f"{path} is not a float32 array of {vocabulary_size} query weights; export the bundle again")
    if not (np.isfinite(table).all() and (table >= 0).all()):
        raise BundleError(f"{path} has query weights that are negative or not finite; export the bundle again")
    return table


def look_up(table: NDArray[np.float32], input_ids: Sequence[Sequence[int]], top_k: int) -> Iterator[TopK]:
    """The entries of queries, given as token ids: each token once, with its weight of the table if that is above 0.

    At most `top_k` a query, by falling weight; those of equal weight are in the order of their ids.
    """
    for start in range(0, len(input_ids), ROWS):
        rows = [_entries(table, row, top_k) for row in input_ids[start : start + ROWS]]
        longest = max(len(ids) for ids, _ in rows)
        indices, values = np.zeros((len(rows), longest), np.int32), np.zeros((len(rows), longest), np.float32)
        for row, (ids, weights) in enumerate(rows):
            indices[row, : len(ids)], values[row, : len(ids)] = ids, weights
        yield TopK(np.arange(start, start + len(rows)), indices, values)


def _entries(
    table: NDArray[np.float32], row: Sequence[int], top_k: int
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    ids = np.array(sorted(set(row)), np.int32)
    weights = table[ids]
    order = np.argsort(-weights, kind="stable")[: min(top_k, np.count_nonzero(weights))]
    return ids[order], weights[order]
