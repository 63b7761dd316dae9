"""What a point of Qdrant is here, be it in a server's collection or in a folder: id, payload and two sparse vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha1
from itertools import pairwise
from typing import Any, Protocol
from uuid import UUID

import numpy as np

from ..bm25 import Entries
from ..filters import field_paths
from ..origin import Origin
from ..vectors import SparseVector, SparseVectors

ID = "_id"  # the payload's field of the document's own id
BM25 = "bm25"  # the name of the vector of BM25
NAMESPACE = UUID("5f0dd6d6-6a35-5c0e-9f0b-0d9f3c9f4a11")
RRF_K = 60  # of reciprocal rank fusion, 1 / (k + rank)
FUSED = 100  # hits of either ranking that are fused, at least


@dataclass(frozen=True, slots=True)
class PointData:
    """A document as Qdrant takes it.

    Attributes:
        id: of `point_id`.
        payload: its fields, and its own id under `ID`.
        entries: its vector's, None if it has none: Qdrant finds nothing by an empty vector.
        bm25: its text's.
    """

    id: str
    payload: dict[str, Any]
    entries: Entries | None
    bm25: Entries


@dataclass(frozen=True)
class Found:
    """A point that was found: its score, payload, and vector as {token id: weight}."""

    score: float
    payload: Mapping[str, Any]
    weights: Mapping[int, float]


class Points(Protocol):
    """Where points are kept. All methods raise StoreError where the engine refuses, or does not answer."""

    def origin(self) -> Origin | None:
        """What made the vectors; None if there is nothing yet.

        Raises:
            InputError: there is something of unknown origin.
        """

    def make(self, origin: Origin) -> None:
        """Make what is not there."""

    def upsert(self, points: Sequence[PointData]) -> None:
        """Write points in the place of those with the same ids; they last when this returns."""

    def delete(self, ids: Sequence[str]) -> None:
        """Delete the points with these ids of `point_id`."""

    def delete_passages(self, documents: Sequence[str]) -> None:
        """Delete all passages of the documents with these ids of their own."""

    def find(self, entries: Entries, bm25: Entries | None, filters: Mapping[str, str], limit: int) -> list[Found]:
        """The best points, the best first.

        Args:
            entries: of the question's vector; with none, and `bm25`, only that finds.
            bm25: of the question's text, to fuse both rankings by reciprocal rank; None does not.
            filters: values of payload fields.
            limit: points wanted.
        """

    def count(self) -> int:
        """Points there are."""

    def settle(self) -> None:
        """Bring what was written into the form that is searched fastest."""


def point_id(document_id: str) -> str:
    """The UUID of a document's id; the same everywhere and always."""
    # uuid.uuid5 itself takes four times as long, which shows among a hundred thousand documents.
    digest = bytearray(sha1(NAMESPACE.bytes + document_id.encode()).digest()[:16])
    digest[6], digest[8] = digest[6] & 0x0F | 0x50, digest[8] & 0x3F | 0x80
    name = digest.hex()
    return f"{name[:8]}-{name[8:12]}-{name[12:16]}-{name[16:20]}-{name[20:]}"


def sorted_entries(vector: SparseVector) -> Entries:
    """A vector's entries by ascending index, as Qdrant wants them."""
    order = vector.indices.argsort()
    return vector.indices[order].tolist(), vector.values[order].tolist()


def rows_of_entries(vectors: SparseVectors) -> list[Entries]:
    """`sorted_entries` of each vector; all at once, which takes half the time."""
    lengths = np.diff(vectors.indptr)
    keys = np.repeat(np.arange(len(vectors)) * vectors.vocabulary_size, lengths) + vectors.indices
    order = keys.argsort()
    indices, values = vectors.indices[order].tolist(), vectors.values[order].tolist()
    return [(indices[begin:end], values[begin:end]) for begin, end in pairwise(vectors.indptr.tolist())]


def quoted_paths(name: str) -> list[str]:
    """How Qdrant is asked for a filter's field.

    Raises:
        InputError: no field can be called so.
    """
    return [".".join(f'"{part}"' for part in path) for path in field_paths(name)]
