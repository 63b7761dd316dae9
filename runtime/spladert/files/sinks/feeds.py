"""Documents with their vectors as lines that other programs load: Vespa's feed, and Elasticsearch's bulk requests."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from functools import lru_cache

from ...errors import InputError
from ...opensearch.keys import token_keys
from ...opensearch.weights import storable, written
from ...vectors import SparseVector, SparseVectors
from ..records import BadRecord, Record
from .jsonl import check_finite
from .store import Row, Rows

TEXT, VECTOR = "text", "sparse"
# What Vespa refuses as "illegal code point": control characters but for tab and line ends, and noncharacters.
NO_TEXT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufdd0-\ufdef\ufffe\uffff]")
VESPA_ID = "id:spladert:doc::"  # of a document of type `doc`


def vespa_lines(
    records: Sequence[Record], vectors: SparseVectors, names: Sequence[str] | None
) -> tuple[bytes, list[BadRecord]]:
    """A line a document: a put of its fields, and of its vector as a tensor<float>(token{}) in the field `sparse`.

    Weights have the fewest digits that give the same float32 back.
    """
    assert names is not None

    def line(row: Row, vector: SparseVector) -> str:
        for name, value in row.fields.items():
            if isinstance(value, str) and (found := NO_TEXT.search(value)) is not None:
                raise InputError(f"field {name!r} has U+{ord(found[0]):04X}, which Vespa does not take; leave it out")
        weights = vector.values.astype(str).tolist()
        cells = ",".join(f"{_json(names[i])}:{w}" for i, w in zip(vector.indices.tolist(), weights, strict=True))
        # "cells" is spelled out, for a tensor of that token alone would be read as the longer form.
        tensor = f'{{"cells":{{{cells}}}}}'
        return f'{{"put":{_json(VESPA_ID + row.id)},"fields":{_with_vector(row, tensor)}}}\n'

    return _lines(records, vectors, line)


def bulk_lines(
    records: Sequence[Record], vectors: SparseVectors, names: Sequence[str] | None
) -> tuple[bytes, list[BadRecord]]:
    """Two lines a document for Elasticsearch's _bulk: its id, and its fields with the vector in the field `sparse`.

    Tokens with a dot are spelled by their ids (Elasticsearch before 8.16 refuses them), and weights are rounded to what
    the index keeps.
    """
    assert names is not None
    keys = _keys(tuple(names))

    def line(row: Row, vector: SparseVector) -> str:
        kept = storable(vector.values)
        pairs = zip(vector.indices[kept].tolist(), written(vector.values[kept]), strict=True)
        weights = "{" + ",".join(f"{_json(keys[i])}:{weight}" for i, weight in pairs) + "}"
        return f'{{"index":{{"_id":{_json(row.id)}}}}}\n{_with_vector(row, weights)}\n'

    return _lines(records, vectors, line)


@lru_cache(maxsize=2)
def _keys(names: tuple[str, ...]) -> list[str]:
    return token_keys(names)


def _lines(
    records: Sequence[Record], vectors: SparseVectors, line: Callable[[Row, SparseVector], str]
) -> tuple[bytes, list[BadRecord]]:
    check_finite(vectors)
    rows, lines, refused = Rows(TEXT), [], []
    for record, vector in zip(records, vectors, strict=True):
        try:
            row = rows(record)
            if not row.id:
                raise InputError("the document's id is empty, which the store does not take; give it one")
            lines.append(line(row, vector))
        except InputError as error:
            refused.append(BadRecord(record.line, str(error), record.text.encode()))
    return "".join(lines).encode(), refused


def _with_vector(row: Row, vector: str) -> str:
    """The row's fields as JSON, and its vector.

    Raises:
        InputError: it has the vector's field already, or holds what JSON cannot.
    """
    if VECTOR in row.fields:
        raise InputError(f"the document has a field {VECTOR!r} already, where its vector is to be")
    return f"{row.to_json()[:-1]},{_json(VECTOR)}:{vector}}}"


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
