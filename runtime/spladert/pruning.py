"""Pruning of sparse vectors: the light entries go. The names and meanings are those of OpenSearch's neural search."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .errors import InputError
from .vectors import SparseVectors

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Pruning:
    """Which entries of a vector are kept.

    Attributes:
        kind: "top_k" keeps the `value` heaviest entries; "max_ratio" those of at least `value` times the heaviest
            weight; "abs_value" those of at least `value`; "alpha_mass" the heaviest ones whose sum is at most `value`
            times the sum of all (a vector whose first entry is above that becomes empty, as in OpenSearch).
        value: OpenSearch's `prune_ratio`.

    Raises:
        InputError: a kind that does not exist, or a value out of its range.
    """

    kind: str
    value: float

    def __post_init__(self) -> None:
        if self.kind not in _KINDS:
            raise InputError(f"prune is {self.kind!r}; choose one of {', '.join(_KINDS)}")
        allowed = _KINDS[self.kind]
        if not math.isfinite(self.value) or not allowed.accepts(self.value):
            raise InputError(f"prune is {self.kind}:{self.value:g}; {self.kind} takes {allowed.range}")

    @classmethod
    def parse(cls, text: str) -> Pruning:
        """A pruning as it is written on a command line, `max_ratio:0.1`.

        Raises:
            InputError: it is written otherwise.
        """
        kind, colon, value = text.partition(":")
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not colon or math.isnan(number):
            raise InputError(f"prune is {text!r}; write KIND:VALUE, for example max_ratio:0.1 or top_k:100")
        return cls(kind, number)

    def __str__(self) -> str:
        return f"{self.kind}:{self.value:g}"


def prune(vectors: SparseVectors, pruning: Pruning) -> SparseVectors:
    """The vectors with the entries that `pruning` keeps, in their order."""
    kept = _KINDS[pruning.kind].kept(vectors, pruning.value)
    counts = np.concatenate([np.zeros(1, np.int64), np.cumsum(kept)])
    return SparseVectors(
        indptr=counts[vectors.indptr],
        indices=vectors.indices[kept],
        values=vectors.values[kept],
        vocabulary_size=vectors.vocabulary_size,
        cut=vectors.cut,
    )


@dataclass(frozen=True)
class _Kind:
    """`kept` gives a bool an entry; `accepts` says whether a value is one of `range`."""

    kept: Callable[[SparseVectors, float], NDArray[np.bool_]]
    accepts: Callable[[float], bool]
    range: str


def _top_k(vectors: SparseVectors, value: float) -> NDArray[np.bool_]:
    lengths = np.diff(vectors.indptr)
    rank = np.arange(len(vectors.indices)) - np.repeat(vectors.indptr[:-1], lengths)
    return rank < value


def _max_ratio(vectors: SparseVectors, value: float) -> NDArray[np.bool_]:
    lengths = np.diff(vectors.indptr)
    heaviest = vectors.values[vectors.indptr[:-1][lengths > 0]]  # rows begin with their heaviest entry
    return vectors.values >= np.float32(value) * np.repeat(heaviest, lengths[lengths > 0])


def _abs_value(vectors: SparseVectors, value: float) -> NDArray[np.bool_]:
    return vectors.values >= np.float32(value)


def _alpha_mass(vectors: SparseVectors, value: float) -> NDArray[np.bool_]:
    # float32 sums, entry by entry, as OpenSearch's own: at a whole ratio the last digit decides.
    kept = [
        np.cumsum(row.values, dtype=np.float32) <= np.float32(value) * np.float32(row.values.sum(dtype=np.float64))
        for row in vectors
    ]
    return np.concatenate([np.empty(0, np.bool_), *kept])


_KINDS: dict[str, _Kind] = {
    "top_k": _Kind(_top_k, lambda value: value >= 1 and value == int(value), "a whole number of at least 1"),
    "max_ratio": _Kind(_max_ratio, lambda value: 0 <= value < 1, "0 to less than 1"),
    "abs_value": _Kind(_abs_value, lambda value: value >= 0, "0 or more"),
    "alpha_mass": _Kind(_alpha_mass, lambda value: 0 <= value < 1, "0 to less than 1"),
}
