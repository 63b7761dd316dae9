"""Sparse vectors, one (`SparseVector`) and many (`SparseVectors`, compressed sparse rows)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, overload

import numpy as np

from .errors import DependencyError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_array


@dataclass(frozen=True, eq=False, slots=True)
class TopK:
    """What a graph gives for some of the texts of a call.

    Attributes:
        positions: int64 [batch], which texts of the call these are.
        indices: int32 [batch, k], vocabulary ids by falling weight.
        values: float32 [batch, k], their weights; zeros at the end of a row are no entries.
    """

    positions: NDArray[np.int64]
    indices: NDArray[np.int32]
    values: NDArray[np.float32]


@dataclass(frozen=True, eq=False, slots=True)
class SparseVector:
    """One text's vector: token ids and their weights, sorted by falling weight, no zeros.

    Attributes:
        indices: int32 [n], vocabulary ids.
        values: float32 [n], weights, all above 0.
    """

    indices: NDArray[np.int32]
    values: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.indices)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SparseVector):
            return NotImplemented
        return np.array_equal(self.indices, other.indices) and np.array_equal(self.values, other.values)

    __hash__ = None  # type: ignore[assignment]  # arrays are mutable

    def to_dict(self) -> dict[int, float]:
        """`{token id: weight}`, heaviest first."""
        return dict(zip(self.indices.tolist(), self.values.tolist(), strict=True))


@dataclass(frozen=True, eq=False, slots=True)
class SparseVectors(Sequence[SparseVector]):
    """Vectors of many texts in the order of the texts, as compressed sparse rows.

    Row i is `indices[indptr[i]:indptr[i + 1]]` with the same slice of `values`, by falling weight (not by index).

    Attributes:
        indptr: int64 [texts + 1].
        indices: int32 [nnz], vocabulary ids.
        values: float32 [nnz], weights, all above 0.
        vocabulary_size: number of columns of the matrix.
        cut: bool [texts], which of the texts were cut, for they were longer than the model's `max_length`; None is
            none of them.
        input_ids: what the texts were read as, special tokens included, where a job keeps it for those that the vectors
            are for; None is not kept.
    """

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    values: NDArray[np.float32]
    vocabulary_size: int
    cut: NDArray[np.bool_] | None = None
    input_ids: Sequence[Sequence[int]] | None = None

    @property
    def truncated(self) -> int:
        """How many of the texts were cut."""
        return 0 if self.cut is None else int(self.cut.sum())

    def __len__(self) -> int:
        return len(self.indptr) - 1

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SparseVectors):
            return NotImplemented
        return (
            self.vocabulary_size == other.vocabulary_size
            and np.array_equal(self.indptr, other.indptr)
            and np.array_equal(self.indices, other.indices)
            and np.array_equal(self.values, other.values)
        )

    __hash__ = None  # type: ignore[assignment]  # arrays are mutable

    @overload
    def __getitem__(self, item: int) -> SparseVector: ...
    @overload
    def __getitem__(self, item: slice) -> SparseVectors: ...
    def __getitem__(self, item: int | slice) -> SparseVector | SparseVectors:
        if isinstance(item, slice):
            rows = [self[i] for i in range(*item.indices(len(self)))]
            return SparseVectors.from_rows(rows, self.vocabulary_size, None if self.cut is None else self.cut[item])
        row = range(len(self))[item]  # negative and out-of-range indices behave as in a list
        part = slice(self.indptr[row], self.indptr[row + 1])
        return SparseVector(self.indices[part], self.values[part])

    def __iter__(self) -> Iterator[SparseVector]:
        return (self[i] for i in range(len(self)))

    def to_dicts(self) -> list[dict[int, float]]:
        """A `{token id: weight}` a text, heaviest first."""
        return [vector.to_dict() for vector in self]

    def to_scipy(self) -> csr_array:
        """scipy `csr_array` [texts, vocabulary_size], float32, with sorted column indices.

        Raises:
            DependencyError: scipy is not installed.
        """
        try:
            from scipy.sparse import csr_array
        except ImportError as error:
            raise DependencyError("to_scipy() needs scipy: pip install 'spladert[scipy]'") from error
        shape = (len(self), self.vocabulary_size)
        matrix = csr_array((self.values, self.indices, self.indptr), shape=shape, copy=True)
        matrix.sort_indices()
        return matrix

    @classmethod
    def from_rows(
        cls, rows: Sequence[SparseVector], vocabulary_size: int, cut: NDArray[np.bool_] | None = None
    ) -> SparseVectors:
        """The vectors of `rows`, in their order; `cut` says which of their texts were."""
        indptr = np.zeros(len(rows) + 1, dtype=np.int64)
        np.cumsum([len(row) for row in rows], out=indptr[1:])
        return cls(
            indptr=indptr,
            indices=np.concatenate([np.empty(0, np.int32), *(row.indices for row in rows)]),
            values=np.concatenate([np.empty(0, np.float32), *(row.values for row in rows)]),
            vocabulary_size=vocabulary_size,
            cut=cut,
        )

    @classmethod
    def from_batches(
        cls,
        batches: Iterable[TopK],
        texts: int,
        vocabulary_size: int,
        *,
        top_k: int | None = None,
        cut: NDArray[np.bool_] | None = None,
    ) -> SparseVectors:
        """The vectors of `texts` texts from batches in any order; a text that is in none has an empty vector.

        Args:
            batches: what the graph gave.
            texts: number of texts of the call.
            vocabulary_size: number of columns of the matrix.
            top_k: entries kept of each vector, the heaviest; None keeps all.
            cut: bool [texts], which of the texts were cut.
        """
        counts = np.zeros(texts, np.int64)
        parts = []
        for batch in batches:
            indices, values = batch.indices[:, :top_k], batch.values[:, :top_k]
            kept = values > 0
            counts[batch.positions] = kept.sum(axis=1)
            parts.append((batch.positions, indices[kept], values[kept]))
        indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
        vectors = cls(indptr, np.empty(indptr[-1], np.int32), np.empty(indptr[-1], np.float32), vocabulary_size, cut)
        for positions, ids, weights in parts:
            lengths = counts[positions]
            before = np.cumsum(lengths) - lengths  # where each row begins in `ids`, and in the result
            at = np.arange(len(ids)) + np.repeat(indptr[positions] - before, lengths)
            vectors.indices[at], vectors.values[at] = ids, weights
        return vectors
