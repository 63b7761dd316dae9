"""Indexes and queries on a real node."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spladert import SparseEncoder, SparseVector, SparseVectors
from spladert.opensearch import (
    Ceilings,
    Keys,
    document_tokens,
    hybrid_body,
    index_body,
    keys_of,
    query_body,
    query_clause,
    two_phase,
)
from spladert.opensearch.keys import token_keys
from spladert.opensearch.meta import FieldMeta, from_mapping
from spladert.opensearch.weights import as_kept
from spladert.tokenizer import load_tokenizer

CARD = "models/korean-neural-sparse-encoder/tokenizer.json"
TEXTS = [
    "당뇨병 치료에는 식이요법과 운동이 중요하다",
    "손해배상 청구 소송에서 위자료 산정 기준",
    "서울의 오늘 날씨는 맑고 기온은 영상 이십 도",
    "인슐린은 혈당을 낮추는 호르몬이다",
    "헌법 제1조는 민주공화국을 말한다",
]


def fill(client: Any, index: str, documents: Sequence[Mapping[str, Any]]) -> None:
    lines = [line for n, body in enumerate(documents) for line in ({"index": {"_id": str(n)}}, body)]
    answer = client.bulk(body="\n".join(map(json.dumps, lines)) + "\n", index=index, refresh=True)
    assert not answer["errors"], answer["items"][:3]


def ranked(client: Any, index: str, body: Mapping[str, Any], **parameters: Any) -> list[tuple[int, float]]:
    hits = client.search(index=index, body=body, params=parameters)["hits"]["hits"]
    return [(int(hit["_id"]), hit["_score"]) for hit in hits]


def fill_texts(client: Any, index: str, encoder: SparseEncoder, keys: Keys) -> SparseVectors:
    vectors = encoder.encode(TEXTS)
    documents = [
        {"text": text, "sparse": document_tokens(vector, keys)} for text, vector in zip(TEXTS, vectors, strict=True)
    ]
    fill(client, index, documents)
    return vectors


def scores(query: SparseVector, vectors: SparseVectors) -> list[float]:
    """The dot product with each vector, of what a rank_features field keeps of it."""
    weights = query.to_dict()
    return [
        sum(
            weights.get(i, 0.0) * kept
            for i, kept in zip(row.indices.tolist(), as_kept(row.values).tolist(), strict=True)
        )
        for row in vectors
    ]


def test_neural_sparse_and_the_bool_query_score_as_the_dot_product(
    client: Any, index: str, encoder: SparseEncoder
) -> None:
    keys = keys_of(encoder.bundle)
    client.indices.create(index=index, body=index_body(encoder.bundle))
    vectors = fill_texts(client, index, encoder, keys)
    for text in ("당뇨병 치료", "소송.", "오늘 날씨"):
        asked = encoder.encode(text)
        exact = scores(asked, vectors)
        for plugin in (True, False):
            hits = ranked(client, index, query_body(asked, keys=keys, plugin=plugin))
            assert [n for n, _ in hits] == sorted(
                (n for n, score in enumerate(exact) if score > 0), key=lambda n: -exact[n]
            )
            np.testing.assert_allclose([score for _, score in hits], [exact[n] for n, _ in hits], rtol=1e-5)


def test_two_phases_find_the_same_as_one(client: Any, index: str, encoder: SparseEncoder) -> None:
    keys = keys_of(encoder.bundle)
    client.indices.create(index=index, body=index_body(encoder.bundle))
    fill_texts(client, index, encoder, keys)
    body = query_body(encoder.encode("당뇨병 치료"), keys=keys, top=2)
    whole = ranked(client, index, body)
    client.transport.perform_request("PUT", f"/_search/pipeline/{index}", body=two_phase())
    try:
        phased = ranked(client, index, body, search_pipeline=index)
    finally:
        client.transport.perform_request("DELETE", f"/_search/pipeline/{index}")
    assert [n for n, _ in phased] == [n for n, _ in whole]
    np.testing.assert_allclose([score for _, score in phased], [score for _, score in whole], rtol=1e-5)


@pytest.mark.parametrize("blend", ["normalization", "rrf"])
def test_hybrid_is_one_call(client: Any, index: str, encoder: SparseEncoder, blend: Any) -> None:
    keys = keys_of(encoder.bundle)
    client.indices.create(index=index, body=index_body(encoder.bundle))
    fill_texts(client, index, encoder, keys)
    sparse = query_clause(encoder.encode("당뇨병 치료"), "sparse", "rank_features", keys)
    hits = ranked(client, index, hybrid_body("당뇨병 치료", sparse, blend=blend, weights=[0.3, 0.7], top=3))
    assert hits[0][0] == 0
    alone = {"neural_sparse": {"sparse": {"query_tokens": {"x": 1.0}}}}
    (only,) = ranked(client, index, hybrid_body("민주공화국", alone, blend=blend))
    assert only[0] == 4, "BM25 alone must find it"


def test_hybrid_takes_long_questions(client: Any, index: str, encoder: SparseEncoder) -> None:
    """Of BM25's analyzer each pair of letters is a clause, and a bool query takes 1,024."""
    keys = keys_of(encoder.bundle)
    client.indices.create(index=index, body=index_body(encoder.bundle))
    fill_texts(client, index, encoder, keys)
    question = "당뇨병 치료 " + " ".join(chr(0xAC00 + 2 * i) + chr(0xAC01 + 3 * i) for i in range(1_200))
    sparse = query_clause(encoder.encode("당뇨병 치료"), "sparse", "rank_features", keys)
    assert ranked(client, index, hybrid_body(question, sparse))[0][0] == 0


def test_hybrid_takes_a_dense_query_of_the_callers(client: Any, index: str, encoder: SparseEncoder) -> None:
    keys = keys_of(encoder.bundle)
    body = index_body(encoder.bundle, settings={"knn": True})
    method = {"name": "hnsw", "engine": "lucene", "space_type": "l2"}
    body["mappings"]["properties"]["dense"] = {"type": "knn_vector", "dimension": 2, "method": method}
    client.indices.create(index=index, body=body)
    fill_texts(client, index, encoder, keys)
    for n in range(len(TEXTS)):
        client.update(index=index, id=str(n), body={"doc": {"dense": [float(n), 1.0]}}, refresh=True)
    knn = {"knn": {"dense": {"vector": [4.0, 1.0], "k": 1}}}
    sparse = query_clause(encoder.encode("당뇨병 치료"), "sparse", "rank_features", keys)
    hits = ranked(client, index, hybrid_body("당뇨병", sparse, knn, weights=[0.05, 0.05, 0.9]))
    assert hits[0][0] == 4


def test_the_mapping_says_what_made_it(client: Any, index: str, encoder: SparseEncoder) -> None:
    keys = keys_of(encoder.bundle)
    client.indices.create(index=index, body=index_body(encoder.bundle, variant="cpu-int8"))
    mapping = client.indices.get_mapping(index=index)[index]["mappings"]
    assert from_mapping(mapping, index) == {
        "sparse": FieldMeta.of(encoder.bundle, keys, "rank_features", variant="cpu-int8")
    }


@pytest.mark.parametrize(("vocabulary", "spelling"), [("default", "tokens"), ("card", "tokens"), ("card", "ids")])
def test_every_token_comes_back_under_its_key(
    client: Any, index: str, encoder: SparseEncoder, shared: Path, vocabulary: str, spelling: str
) -> None:
    """A document a token; `neural_sparse` and `rank_feature` find it by its key, and nothing else."""
    if vocabulary == "default":
        names = encoder.tokens.tolist()
    else:
        card = load_tokenizer((shared / CARD).read_text(encoding="utf-8"), 64)
        names = [card.id_to_token(i) for i in range(card.get_vocab_size())]
        assert len(names) == 50_000
    keys = token_keys(names) if spelling == "tokens" else [str(i) for i in range(len(names))]
    client.indices.create(index=index, body={"mappings": {"properties": {"sparse": {"type": "rank_features"}}}})
    for start in range(0, len(keys), 10_000):
        chunk = enumerate(keys[start : start + 10_000], start)
        lines = [line for n, key in chunk for line in ({"index": {"_id": str(n)}}, {"sparse": {key: 1.0}})]
        answer = client.bulk(body="\n".join(map(json.dumps, lines)) + "\n", index=index)
        assert not answer["errors"], [item for item in answer["items"] if "error" in item["index"]][:3]
    client.indices.refresh(index=index)
    for start in range(0, len(keys), 1_000):  # every key with a weight of its own, so that each hit tells by which
        asked = {key: 1 + n / 20 for n, key in enumerate(keys[start : start + 1_000])}
        clauses = [
            {"rank_feature": {"field": f"sparse.{key}", "linear": {}, "boost": weight}} for key, weight in asked.items()
        ]
        for query in ({"neural_sparse": {"sparse": {"query_tokens": asked}}}, {"bool": {"should": clauses}}):
            hits = dict(ranked(client, index, {"query": query, "_source": False, "size": 1_001}))
            assert hits == pytest.approx({start + n: weight for n, weight in enumerate(asked.values())})


def test_a_sparse_vector_field_ranks_as_the_dot_product(client: Any, index: str, encoder: SparseEncoder) -> None:
    keys = keys_of(encoder.bundle, "ids")
    vectors = encoder.encode(TEXTS)
    body = index_body(encoder.bundle, "sparse", "sparse_vector", ceilings=Ceilings.measured(vectors))
    client.indices.create(index=index, body=body)
    fill_texts(client, index, encoder, keys)
    asked = encoder.encode("당뇨병 치료")
    exact = scores(asked, vectors)
    hits = ranked(client, index, query_body(asked, "sparse", "sparse_vector", keys=keys))
    assert hits[0][0] == int(np.argmax(exact))
    mapping = client.indices.get_mapping(index=index)[index]["mappings"]["properties"]["sparse"]
    assert mapping["method"]["parameters"]["quantization_ceiling_ingest"] == Ceilings.measured(vectors).ingest
