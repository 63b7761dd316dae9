"""Queries without a model: a weight for each token of the vocabulary, looked up.

As in inference-free sparse retrieval (Geng et al. 2024, arXiv:2411.04403) and sentence-transformers'
`SparseStaticEmbedding`: a query's vector has each of its tokens once, with the weight that the table gives it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .errors import BundleError
from .vectors import SparseVector, SparseVectors

if TYPE_CHECKING:
    from numpy.typing import NDArray


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


def look_up(
    table: NDArray[np.float32], input_ids: Sequence[Sequence[int]], top_k: int, truncated: int = 0
) -> SparseVectors:
    """Vectors of queries, given as token ids: each token once, with its weight of the table if that is above 0.

    Entries of equal weight are in the order of their ids.
    """
    return dataclasses.replace(
        SparseVectors.from_rows([_vector(table, row, top_k) for row in input_ids], len(table)), truncated=truncated
    )


def _vector(table: NDArray[np.float32], row: Sequence[int], top_k: int) -> SparseVector:
    ids = np.array(sorted(set(row)), np.int32)
    weights = table[ids]
    order = np.argsort(-weights, kind="stable")[: min(top_k, np.count_nonzero(weights))]
    return SparseVector(ids[order], weights[order])
