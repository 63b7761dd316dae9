"""Vespa: the schema of a document with a sparse vector, and its queries; `encode --format vespa` makes the feed."""

from __future__ import annotations

from typing import Any

from .encoder import SparseEncoder
from .vectors import SparseVector

TENSOR = "tensor<float>(token{})"


def schema() -> str:
    """The schema that the feed fits; further fields of the documents have to be added to it by hand."""
    return f"""schema doc {{
    document doc {{
        field text type string {{
            indexing: index | summary
            index: enable-bm25
        }}
        field sparse type {TENSOR} {{
            indexing: attribute | summary
        }}
    }}
    rank-profile sparse {{
        inputs {{
            query(q) {TENSOR}
        }}
        first-phase {{
            expression {{
                sum(query(q) * attribute(sparse))
            }}
        }}
    }}
}}
"""


def query_body(encoder: SparseEncoder, vector: SparseVector, *, where: str = "true", top: int = 10) -> dict[str, Any]:
    """The body of a search that ranks documents by dot product with a query's vector.

    Args:
        encoder: what made the vector.
        vector: of the query.
        where: which documents are ranked, in YQL: all of them, or those of a cheaper first query such as userQuery().
        top: hits wanted.
    """
    cells = encoder.to_tokens(vector)
    return {
        "yql": f"select * from doc where {where}",
        "ranking": "sparse",
        "input.query(q)": {"cells": cells},
        "hits": top,
    }
