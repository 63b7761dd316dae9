"""Elasticsearch: bodies for an index of `sparse_vector` and its queries, for `encode --format elasticsearch`.

Nothing here talks to a server. Keys are tokens, but for those with a dot, which are spelled by their ids: Elasticsearch
before 8.16 refuses them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .bundle import Bundle
from .opensearch.entries import document_tokens, query_tokens
from .opensearch.index import field_name
from .opensearch.keys import Keys, keys_of
from .vectors import SparseVector

__all__ = ["Keys", "document_tokens", "index_body", "keys_of", "query_body", "query_tokens"]


def index_body(bundle: Bundle, field: str = "sparse", *, text_field: str = "text") -> dict[str, Any]:
    """The body of a request that creates an index.

    Args:
        bundle: what makes the vectors; its name is recorded in `_meta`.
        field: name of the vectors' field.
        text_field: name of the text's field.

    Raises:
        InputError: a field's name cannot be one.
    """
    properties = {field_name(field): {"type": "sparse_vector"}, field_name(text_field): {"type": "text"}}
    source = bundle.manifest.source
    meta = {"spladert": {"source": source.id, "weights_sha256": source.weights_sha256}}
    return {"mappings": {"_meta": meta, "properties": properties}}


def query_body(
    vector: SparseVector,
    field: str = "sparse",
    *,
    keys: Keys,
    top: int = 10,
    pruning: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The body of a search by dot product with a query's vector, to which the index adds nothing of its own.

    Args:
        vector: of the query.
        field: name of the field.
        keys: of `keys_of(bundle)`.
        top: hits wanted.
        pruning: {"tokens_freq_ratio_threshold": 5, "tokens_weight_threshold": 0.4} and their like leave out tokens that
            are frequent and light; None leaves out none, also where the index does by default (since 9.1).
    """
    clause: dict[str, Any] = {"field": field_name(field), "query_vector": query_tokens(vector, keys)}
    clause |= {"prune": False} if pruning is None else {"prune": True, "pruning_config": dict(pruning)}
    return {"size": top, "query": {"sparse_vector": clause}}
