"""Every question of a retrieval set over every passage: the index against the exact dot product."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from benchmarks.suite.opensearch_recall import exact_top, fill_vectors, found_top, overlap
from spladert import SparseEncoder, SparseVectors
from spladert.evaluation import RetrievalData, evaluate_vectors, read_dataset
from spladert.opensearch import Ceilings, index_body, keys_of, query_body


@dataclass(frozen=True)
class Retrieval:
    data: RetrievalData
    queries: SparseVectors
    documents: SparseVectors
    exact: list[list[int]]


@pytest.fixture(scope="module")
def retrieval(encoder: SparseEncoder, shared: Path) -> Retrieval:
    data = read_dataset(shared / "data" / "tydi_retrieval")
    queries, documents = encoder.encode_query(data.queries), encoder.encode_document(data.documents)
    return Retrieval(data, queries, documents, exact_top(queries, documents))


def ndcg_at_10(data: RetrievalData, found: list[list[int]]) -> float:
    import ir_measures
    from ir_measures import nDCG

    run = [
        ir_measures.ScoredDoc(query_id, data.document_ids[n], float(-rank))
        for query_id, row in zip(data.query_ids, found, strict=True)
        for rank, n in enumerate(row)
    ]
    qrels = [ir_measures.Qrel(*judgement) for judgement in data.qrels]
    return float(ir_measures.calc_aggregate([nDCG @ 10], qrels, run)[nDCG @ 10])


def test_a_rank_features_index_ranks_as_the_exact_product(
    client: Any, index: str, encoder: SparseEncoder, retrieval: Retrieval
) -> None:
    pytest.importorskip("ir_measures")
    keys = keys_of(encoder.bundle)
    client.indices.create(index=index, body=index_body(encoder.bundle))
    fill_vectors(client, index, retrieval.documents, keys)
    expected = evaluate_vectors(retrieval.data, retrieval.queries, retrieval.documents).ndcg_at_10
    for plugin in (True, False):
        found, _ = found_top(client, index, retrieval.queries, lambda v, p=plugin: query_body(v, keys=keys, plugin=p))
        assert overlap(found, retrieval.exact) >= 0.99
        assert ndcg_at_10(retrieval.data, found) == pytest.approx(expected, abs=0.002)


def test_a_sparse_vector_index_finds_what_it_promises_beyond_the_threshold(
    client: Any, index: str, encoder: SparseEncoder, retrieval: Retrieval
) -> None:
    keys = keys_of(encoder.bundle, "ids")
    body = index_body(
        encoder.bundle,
        "sparse",
        "sparse_vector",
        ceilings=Ceilings.measured(retrieval.documents[:1_000]),
        parameters={"approximate_threshold": 100},
    )
    client.indices.create(index=index, body=body)
    fill_vectors(client, index, retrieval.documents, keys)
    found, _ = found_top(
        client, index, retrieval.queries, lambda vector: query_body(vector, "sparse", "sparse_vector", keys=keys)
    )
    assert overlap(found, retrieval.exact) >= 0.98
