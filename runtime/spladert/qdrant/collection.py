"""Rows into points: a `Collection` over any `Points`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..bm25 import document_entries
from ..encoder import SparseEncoder
from ..errors import InputError
from ..files.sinks.store import Refused, Row
from ..origin import origin_of
from ..vectors import SparseVectors
from .points import ID, PointData, Points, point_id, rows_of_entries

LEVELS = 100  # of lists and objects within a document; the engine keeps more in its log, and cannot read it again


class PointsCollection:
    """Points as a `Collection`."""

    text_field = "text"

    def __init__(self, points: Points, where: str, encoder: SparseEncoder) -> None:
        """
        Args:
            points: where they are kept.
            where: what the user calls it, for messages.
            encoder: whose vectors are written.
        """
        self._points, self._where, self._encoder = points, where, encoder
        self._there = False
        self._may_have_passages = True

    @property
    def facts(self) -> Mapping[str, object]:
        return {}

    def open(self, *, fresh: bool) -> bool:
        asked = origin_of(self._encoder.bundle, self._encoder.variant.name)
        origin = self._points.origin()
        if origin is not None:
            origin.check(asked, self._where)
        self._there = origin is not None
        return self._there

    def write(self, rows: Sequence[Row], vectors: SparseVectors) -> Sequence[Refused]:
        self._make()
        points: list[PointData] = []
        taken: list[Row] = []
        refused: list[Refused] = []
        words = document_entries(self._token_ids([row.text for row in rows], vectors))
        for position, (row, entries, bm25) in enumerate(zip(rows, rows_of_entries(vectors), words, strict=True)):
            try:
                payload = _payload(row)
            except InputError as error:
                refused.append(Refused(position, str(error)))
                continue
            taken.append(row)
            points.append(PointData(_point_id(row), payload, entries if entries[0] else None, bm25))
        self._delete_others(taken)
        if points:
            self._points.upsert(points)
        return refused

    def _token_ids(self, texts: Sequence[str], vectors: SparseVectors) -> Sequence[Sequence[int]]:
        tokenizer = self._encoder.tokenizer
        if vectors.input_ids is None or vectors.cut is None:
            return tokenizer.all_ids(texts)
        return tokenizer.content_ids(texts, vectors.input_ids, vectors.cut)

    def finish(self) -> Sequence[str]:
        self._make()
        self._points.settle()
        return ()

    def _delete_others(self, rows: Sequence[Row]) -> None:
        """Delete what an earlier version of these documents has besides: more passages, or none."""
        begun = [row.document_id for row in rows if row.is_first]
        whole = [row.document_id for row in rows if row.is_first and row.id != row.document_id]
        if whole:
            self._points.delete([point_id(document) for document in whole])
        if begun and self._may_have_passages:
            self._points.delete_passages(begun)
        self._may_have_passages |= any(row.id != row.document_id for row in rows)

    def _make(self) -> None:
        if not self._there:
            self._points.make(origin_of(self._encoder.bundle, self._encoder.variant.name))
            self._there = True
            self._may_have_passages = False  # as long as none is written: asking takes time


def _point_id(row: Row) -> str:
    """That of a passage is no document's own, whatever that is called: no id of the input has a NUL."""
    return point_id(row.id if row.id == row.document_id else f"{row.document_id}\0{row.id}")


def _payload(row: Row) -> dict[str, object]:
    payload = row.plain_fields()
    if ID in payload:
        raise InputError(f"the document has a field {ID!r} besides its id, where that is kept; rename it")
    for name, value in payload.items():
        if _is_deeper(value, LEVELS):
            raise InputError(f"field {name!r} has more than {LEVELS} levels of lists and objects; make it flatter")
    return {**payload, ID: row.id}


def _is_deeper(value: Any, levels: int) -> bool:
    """Whether a value of JSON has more levels than that."""
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deeper(each, levels - 1) for each in inner)
