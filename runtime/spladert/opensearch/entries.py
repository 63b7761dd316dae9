"""A vector's entries as OpenSearch takes them: `{key: weight}`, at query with all digits, at ingest as it is kept."""

from __future__ import annotations

from ..vectors import SparseVector
from .keys import Keys
from .weights import storable, written


def query_tokens(vector: SparseVector, keys: Keys) -> dict[str, float]:
    """A query's entries, heaviest first, but for weights that are too small and tokens without a key.

    Raises:
        InputError: a weight is infinite or not a number, or the vector is of another vocabulary.
    """
    pairs = zip(keys.spell(vector), vector.values.tolist(), storable(vector.values).tolist(), strict=True)
    return {key: weight for key, weight, kept in pairs if kept and key is not None}


def document_tokens(vector: SparseVector, keys: Keys) -> dict[str, float]:
    """A document's entries, heaviest first, with the digits that the field keeps.

    Raises:
        InputError: as `query_tokens`.
    """
    kept = storable(vector.values)
    vector = SparseVector(vector.indices[kept], vector.values[kept])
    pairs = zip(keys.spell(vector), written(vector.values), strict=True)
    return {key: weight for key, weight in pairs if key is not None}
