"""The bodies that search: neural_sparse, a bool query for clusters without it, two phases, and hybrid search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np

from ..errors import InputError
from ..vectors import SparseVector
from .entries import query_tokens
from .index import Kind, field_name, kind_of
from .keys import Keys

Blend = Literal["normalization", "rrf"]
MAX_CLAUSES = 1_024  # of a bool query, OpenSearch's own limit by default
BM25_CHARACTERS = 900  # of a question; an analyzer of bigrams makes a clause of nearly each
SEISMIC = {"top_n": 30, "heap_factor": 1.5}  # how much of a sparse_vector is searched; docs/opensearch.md has a table


def query_body(
    vector: SparseVector,
    field: str = "sparse",
    kind: Kind = "rank_features",
    *,
    keys: Keys,
    plugin: bool = True,
    top: int = 10,
    parameters: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The body of a search by dot product with a query's vector.

    Args:
        vector: of the query.
        field: name of the field.
        kind: of the field.
        keys: how the field spells tokens.
        plugin: whether the cluster has neural search; without, a bool query of `rank_feature` clauses gives the same
            scores of a rank_features field. Each of them is `linear`: without that word, OpenSearch scores by
            saturation, weight / (weight + pivot), which is another ranking.
        top: hits wanted.
        parameters: further parameters of a sparse_vector's search, such as {"heap_factor": 2.0}.

    Raises:
        InputError: the vector has no entry that the field could match, or the arguments do not fit.
    """
    if top < 1:
        raise InputError(f"top is {top}; give 1 or more")
    return {"size": top, "query": query_clause(vector, field, kind, keys, plugin, top, parameters)}


def query_clause(
    vector: SparseVector,
    field: str,
    kind: Kind,
    keys: Keys,
    plugin: bool = True,
    top: int = 10,
    parameters: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The query of `query_body` alone, to be put into a larger one."""
    tokens = query_tokens(vector, keys)
    if not tokens:
        raise InputError("the query has no token that the index knows; ask in other words")
    if kind_of(kind) == "rank_features":
        if parameters:
            raise InputError("parameters are for a sparse_vector field; leave them out")
        return _neural_sparse(field, tokens) if plugin else _bool(field, tokens)
    if not plugin:
        raise InputError("only neural search can search a sparse_vector field; leave plugin=False out")
    method = {"k": top, **SEISMIC, **(parameters or {})}
    return _neural_sparse(field, tokens, method_parameters=method)


def _neural_sparse(field: str, tokens: Mapping[str, float], **further: Any) -> dict[str, Any]:
    return {"neural_sparse": {field_name(field): {"query_tokens": dict(tokens), **further}}}


def _bool(field: str, tokens: Mapping[str, float]) -> dict[str, Any]:
    heaviest = list(tokens.items())[:MAX_CLAUSES]
    clauses = [
        {"rank_feature": {"field": f"{field_name(field)}.{key}", "linear": {}, "boost": weight}}
        for key, weight in heaviest
    ]
    return {"bool": {"should": clauses}}


def two_phase(
    kind: Kind = "rank_features", *, ratio: float = 0.4, expansion: float = 5.0, window: int = 10_000
) -> dict[str, Any]:
    """A search pipeline that scores with the heavy tokens first and the found documents with the others then.

    It takes part of every `neural_sparse` query that runs through it. To be created as a pipeline, or put into a body
    as its "search_pipeline".

    Args:
        kind: of the field; only rank_features has two phases.
        ratio: tokens of at least this share of the heaviest weight are in the first phase (max_ratio).
        expansion: documents that are rescored, as a multiple of the hits wanted.
        window: the most documents that are rescored.

    Raises:
        InputError: a sparse_vector field, which has its own way to search, or a number out of range.
    """
    if kind_of(kind) != "rank_features":
        raise InputError("a sparse_vector field takes no two-phase search; use heap_factor and top_n of its query")
    if not 0 <= ratio < 1 or expansion < 1 or window < 50:
        raise InputError(
            f"two-phase search takes a ratio of 0 to 1, an expansion of at least 1 and a window of at least 50, "
            f"not {ratio}, {expansion} and {window}"
        )
    parameter = {
        "prune_type": "max_ratio",
        "prune_ratio": ratio,
        "expansion_rate": expansion,
        "max_window_size": window,
    }
    return {
        "request_processors": [
            {"neural_sparse_two_phase_processor": {"enabled": True, "two_phase_parameter": parameter}}
        ]
    }


def hybrid_body(
    text: str,
    sparse: Mapping[str, Any],
    *further: Mapping[str, Any],
    text_field: str = "text",
    blend: Blend = "normalization",
    weights: Sequence[float] | None = None,
    top: int = 10,
) -> dict[str, Any]:
    """The body of one search by BM25, sparse vectors and any further queries, with the pipeline that blends them in it.

    Args:
        text: the question, for BM25; its first `BM25_CHARACTERS` are asked for.
        sparse: of `query_clause`, or the "query" of `query_body`.
        further: queries of the caller's own, such as a knn over dense vectors (the index has to have their field).
        text_field: the field for BM25.
        blend: "normalization" adds scores scaled to 0 to 1 (min-max), "rrf" adds reciprocal ranks.
        weights: of BM25, sparse, and each further query, in this order; they add up to 1. None weighs all alike.
        top: hits wanted.

    Raises:
        InputError: `blend` or `weights` cannot be taken.
    """
    queries = [{"match": {text_field: {"query": text[:BM25_CHARACTERS]}}}, dict(sparse), *map(dict, further)]
    return {
        "size": top,
        "query": {"hybrid": {"queries": queries}},
        "search_pipeline": {"phase_results_processors": [_blending(blend, weights, len(queries))]},
    }


def _blending(blend: str, weights: Sequence[float] | None, queries: int) -> dict[str, Any]:
    if blend not in get_args(Blend):
        raise InputError(f"blend is {blend!r}; choose one of {', '.join(get_args(Blend))}")
    if weights is not None and (len(weights) != queries or abs(float(np.sum(weights)) - 1) > 1e-3):
        raise InputError(f"weights are {list(weights)}; give {queries} that add up to 1, BM25 first, then sparse")
    parameters = {} if weights is None else {"parameters": {"weights": [float(weight) for weight in weights]}}
    if blend == "rrf":
        return {"score-ranker-processor": {"combination": {"technique": "rrf", **parameters}}}
    combination = {"technique": "arithmetic_mean", **parameters}
    return {"normalization-processor": {"normalization": {"technique": "min_max"}, "combination": combination}}
