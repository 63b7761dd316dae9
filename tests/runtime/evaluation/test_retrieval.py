from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spladert import InputError, SparseEncoder, SparseVectors
from support.datasets import small_dataset
from support.vectors import sparse_vectors

pytest.importorskip("ir_measures", reason="needs the evaluate extra: pip install 'spladert[evaluate]'")
pytest.importorskip("scipy", reason="needs the evaluate extra: pip install 'spladert[evaluate]'")

from spladert.evaluation import RetrievalData, evaluate, evaluate_vectors, read_dataset
from spladert.evaluation.retrieval import search


def vectors(*rows: dict[int, float]) -> SparseVectors:
    return sparse_vectors(rows, vocabulary_size=8)


def found(queries: SparseVectors, documents: SparseVectors, depth: int = 10) -> list[list[int]]:
    return [ranking.tolist() for ranking in search(queries, documents, depth)]


def test_search_ranks_by_dot_product_and_leaves_out_what_shares_nothing() -> None:
    documents = vectors({0: 1.0}, {0: 3.0, 1: 1.0}, {2: 5.0}, {}, {1: 2.0})
    assert found(vectors({0: 1.0, 1: 1.0}, {3: 1.0}, {}), documents) == [[1, 4, 0], [], []]


def test_equal_scores_keep_the_documents_order() -> None:
    documents = vectors(*[{0: 1.0}] * 20, {0: 2.0}, *[{0: 1.0}] * 20)
    assert found(vectors({0: 1.0}), documents, depth=4) == [[20, 0, 1, 2]]


whole_weights = st.dictionaries(st.integers(0, 7), st.integers(1, 3).map(float), max_size=8)


@settings(deadline=None)
@given(
    st.lists(whole_weights, max_size=5),
    st.lists(whole_weights, min_size=1, max_size=12),
    st.integers(1, 12),
    st.integers(1, 60),
)
def test_search_is_what_a_full_sort_gives_however_many_scores_at_once(
    queries: list[dict[int, float]], documents: list[dict[int, float]], depth: int, scores_at_once: int
) -> None:
    expected = []
    for query in queries:
        scores = [sum(w * document.get(i, 0) for i, w in query.items()) for document in documents]
        order = sorted((i for i, score in enumerate(scores) if score), key=lambda i: -scores[i])
        expected.append(order[:depth])
    rankings = search(vectors(*queries), vectors(*documents), depth, scores_at_once=scores_at_once)
    assert [ranking.tolist() for ranking in rankings] == expected


def test_scores_by_hand() -> None:
    """a finds its document first, b second, c not at all; d has two relevant ones, of which it finds one third."""
    data = RetrievalData(
        document_ids=("0", "1", "2", "3"),
        documents=("",) * 4,
        query_ids=("a", "b", "c", "d"),
        queries=("",) * 4,
        qrels=(("a", "0", 1), ("b", "1", 1), ("c", "2", 1), ("d", "2", 1), ("d", "3", 1)),
    )
    documents = vectors({0: 3.0, 1: 2.0}, {0: 2.0, 1: 1.0}, {1: 0.5, 2: 1.0}, {5: 1.0})
    queries = vectors({0: 1.0}, {0: 1.0}, {4: 1.0}, {1: 1.0, 0: 1.0})
    scores = evaluate_vectors(data, queries, documents)
    assert scores.recall_at_1 == pytest.approx(1 / 4)
    assert scores.recall_at_5 == scores.recall_at_10 == pytest.approx((1 + 1 + 0 + 1 / 2) / 4)
    assert scores.mrr_at_10 == pytest.approx((1 + 1 / 2 + 0 + 1 / 3) / 4)
    ideal = 1 + 1 / np.log2(3)
    assert scores.ndcg_at_10 == pytest.approx((1 + 1 / np.log2(3) + 0 + (1 / np.log2(4)) / ideal) / 4)
    assert scores.query_dimensions == pytest.approx(5 / 4)
    assert scores.document_dimensions == pytest.approx(7 / 4)
    # dimension 0: in 3 of 4 queries and 2 of 4 documents; 1: 1 and 3; 4: 1 and none
    assert scores.flops == pytest.approx(3 / 4 * 2 / 4 + 1 / 4 * 3 / 4)


def test_ties_score_by_the_documents_order() -> None:
    data = RetrievalData(("z", "a"), ("", ""), ("q",), ("",), (("q", "z", 1),))
    assert evaluate_vectors(data, vectors({0: 1.0}), vectors({0: 1.0}, {0: 1.0})).recall_at_1 == 1
    data = RetrievalData(("a", "z"), ("", ""), ("q",), ("",), (("q", "z", 1),))
    assert evaluate_vectors(data, vectors({0: 1.0}), vectors({0: 1.0}, {0: 1.0})).recall_at_1 == 0


def test_vectors_that_do_not_fit_are_refused() -> None:
    data = RetrievalData(("a",), ("",), ("q",), ("",), (("q", "a", 1),))
    with pytest.raises(InputError, match="2 query and 1 document vectors for 1 queries and 1 documents"):
        evaluate_vectors(data, vectors({}, {}), vectors({}))


def test_a_bundle_is_evaluated(tiny_bundle: Path, dataset: Path) -> None:
    report = evaluate(SparseEncoder.load(tiny_bundle, threads=1), dataset)
    assert (report.scores.queries, report.scores.documents) == (1, 2)
    assert report.scores.recall_at_10 == 1
    assert report.scores.flops > 0
    assert report.variant == "cpu-fp32"


def test_a_real_set_scores_as_plain_arithmetic_says(tiny_bundle: Path, shared: Path, tmp_path: Path) -> None:
    small = small_dataset(shared / "data" / "tydi_retrieval", tmp_path / "small")
    encoder = SparseEncoder.load(tiny_bundle, threads=1)
    scores = evaluate(encoder, small).scores
    data = read_dataset(small)
    assert scores.documents == len(data.documents) == 100
    assert scores.queries == len(data.queries) > 10
    products = encoder.encode(data.queries).to_scipy().toarray() @ encoder.encode(data.documents).to_scipy().toarray().T
    answers = {(query, document) for query, document, relevance in data.qrels if relevance}
    hits = np.array(
        [
            [(query, data.document_ids[place]) in answers for place in np.argsort(-row, kind="stable")[:10]]
            for query, row in zip(data.query_ids, products, strict=True)
        ]
    )
    assert len(answers) == len(data.queries)  # one for each, so that recall is a share of queries
    for depth, recall in ((1, scores.recall_at_1), (5, scores.recall_at_5), (10, scores.recall_at_10)):
        assert recall == pytest.approx(hits[:, :depth].any(axis=1).mean())
    assert 0 < scores.recall_at_10 < 1
    assert scores.mrr_at_10 == pytest.approx((hits / np.arange(1, 11)).max(axis=1).mean())
    assert scores.ndcg_at_10 == pytest.approx((hits / np.log2(np.arange(2, 12))).sum(axis=1).mean())
