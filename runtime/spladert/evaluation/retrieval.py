"""Exact sparse retrieval over vectors, and what it scores on a judged set."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..encoder import SparseEncoder
from ..errors import DependencyError, InputError
from ..vectors import SparseVectors
from .dataset import RetrievalData, read_dataset

DEPTH = 10  # documents retrieved for each query, the deepest that a metric looks
SCORES_AT_ONCE = 2**24  # query-document pairs of one product, about 200 MB


@dataclass(frozen=True)
class RetrievalScores:
    """What a set of query and document vectors scores.

    Attributes:
        recall_at_1, recall_at_5, recall_at_10, mrr_at_10, ndcg_at_10: means over the queries, by ir-measures.
        query_dimensions, document_dimensions: mean number of weights above 0 of a vector.
        flops: the SPLADE paper's FLOPS, the sum over the vocabulary of p_query(j) * p_document(j), where p(j) is the
            share of vectors that have dimension j: the expected multiplications of one query-document pair.
        search_seconds: time of the search alone, all queries.
    """

    queries: int
    documents: int
    recall_at_1: float
    recall_at_5: float
    recall_at_10: float
    mrr_at_10: float
    ndcg_at_10: float
    query_dimensions: float
    document_dimensions: float
    flops: float
    search_seconds: float


@dataclass(frozen=True)
class EvaluationReport:
    """A bundle's scores on a retrieval set, and the time that its encoding took, tokenizing included."""

    data: str
    source: str
    variant: str
    device: str
    scores: RetrievalScores
    encode_queries_seconds: float
    encode_documents_seconds: float


def evaluate(
    encoder: SparseEncoder, folder: str | Path, *, batch_size: int = 32, show_progress: bool = False
) -> EvaluationReport:
    """Encode a retrieval set in the BEIR layout with `encoder` and score it.

    Raises:
        InputError: the set is incomplete or malformed.
        DependencyError: the extra `evaluate` is not installed.
    """
    require_ir_measures()  # before the long part
    data = read_dataset(folder)
    started = time.perf_counter()
    queries = encoder.encode_query(data.queries, batch_size=batch_size, show_progress=show_progress)
    encoded_queries = time.perf_counter()
    documents = encoder.encode_document(data.documents, batch_size=batch_size, show_progress=show_progress)
    encoded_documents = time.perf_counter()
    return EvaluationReport(
        data=str(folder),
        source=encoder.manifest.source.id,
        variant=encoder.variant.name,
        device=encoder.device,
        scores=evaluate_vectors(data, queries, documents),
        encode_queries_seconds=encoded_queries - started,
        encode_documents_seconds=encoded_documents - encoded_queries,
    )


def evaluate_vectors(data: RetrievalData, queries: SparseVectors, documents: SparseVectors) -> RetrievalScores:
    """Score vectors of `data.queries` and `data.documents`, in their order, whatever made them.

    Raises:
        InputError: the vectors do not fit the data.
        DependencyError: the extra `evaluate` is not installed.
    """
    ir = require_ir_measures()
    if len(queries) != len(data.queries) or len(documents) != len(data.documents):
        raise InputError(
            f"{len(queries)} query and {len(documents)} document vectors for {len(data.queries)} queries "
            f"and {len(data.documents)} documents"
        )
    started = time.perf_counter()
    found = list(search(queries, documents))
    search_seconds = time.perf_counter() - started
    # Ranks go in instead of scores: evaluators break ties in an order of their own.
    ranked = (
        ir.ScoredDoc(query_id, data.document_ids[document], float(DEPTH - rank))
        for query_id, ranking in zip(data.query_ids, found, strict=True)
        for rank, document in enumerate(ranking.tolist())
    )
    measures = [ir.R @ 1, ir.R @ 5, ir.R @ 10, ir.RR @ 10, ir.nDCG @ 10]
    metrics = ir.calc_aggregate(measures, [ir.Qrel(*judgement) for judgement in data.qrels], ranked)
    recall_1, recall_5, recall_10, mrr, ndcg = (float(metrics[measure]) for measure in measures)
    return RetrievalScores(
        queries=len(queries),
        documents=len(documents),
        recall_at_1=recall_1,
        recall_at_5=recall_5,
        recall_at_10=recall_10,
        mrr_at_10=mrr,
        ndcg_at_10=ndcg,
        query_dimensions=len(queries.indices) / len(queries),
        document_dimensions=len(documents.indices) / len(documents),
        flops=float(_activation(queries) @ _activation(documents)),
        search_seconds=search_seconds,
    )


def search(
    queries: SparseVectors, documents: SparseVectors, depth: int = DEPTH, *, scores_at_once: int = SCORES_AT_ONCE
) -> Iterator[NDArray[np.int64]]:
    """The documents with the highest dot products with each query, best first, as int64 positions [at most depth].

    Every document is scored; one that shares no dimension with the query is never found. Equal scores keep the
    documents' order. Memory grows with `scores_at_once`, the query-document pairs of one product; results do not
    depend on it.
    """
    by_dimension = documents.to_scipy().T.tocsr()  # [vocabulary, documents]
    rows = queries.to_scipy()
    step = max(scores_at_once // max(len(documents), 1), 1)
    for start in range(0, len(queries), step):
        scores = rows[start : start + step] @ by_dimension  # [step, documents], sparse
        for row in range(scores.shape[0]):
            part = slice(scores.indptr[row], scores.indptr[row + 1])
            yield _best(scores.indices[part], scores.data[part], depth)


def _best(positions: NDArray[Any], scores: NDArray[np.float32], depth: int) -> NDArray[np.int64]:
    if len(scores) > depth:
        kept = scores >= np.partition(scores, -depth)[-depth]  # all that tie with the last one, too
        positions, scores = positions[kept], scores[kept]
    order = np.lexsort((positions, -scores))[:depth]
    return positions[order].astype(np.int64)


def _activation(vectors: SparseVectors) -> NDArray[np.float64]:
    """The share of vectors that have each dimension, [vocabulary]."""
    return np.bincount(vectors.indices, minlength=vectors.vocabulary_size) / len(vectors)


def require_ir_measures() -> Any:
    """The ir_measures module; scipy is there too.

    Raises:
        DependencyError: the extra `evaluate` is not installed.
    """
    try:
        import ir_measures
        import scipy.sparse  # noqa: F401 - asked for here so that one message names both
    except ImportError as error:
        raise DependencyError(f"evaluation needs more packages ({error}): pip install 'spladert[evaluate]'") from error
    return ir_measures
