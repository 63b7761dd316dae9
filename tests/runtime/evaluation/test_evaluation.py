from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from spladert import InputError, SparseEncoder, SparseVector, SparseVectors
from spladert.cli import main
from support.paths import ROOT

pytest.importorskip("ir_measures", reason="needs the evaluate extra: pip install 'spladert[evaluate]'")
pytest.importorskip("scipy", reason="needs the evaluate extra: pip install 'spladert[evaluate]'")

from spladert.evaluation import (
    RetrievalData,
    Term,
    evaluate,
    evaluate_terms,
    evaluate_vectors,
    read_dataset,
    read_terms,
)
from spladert.evaluation.retrieval import search
from spladert.evaluation.terms import is_noise
from spladert.tokenizer import TokenizedTexts

TERMS = ROOT / "benchmarks" / "terms_ko.jsonl"


def vectors(*rows: dict[int, float], size: int = 8) -> SparseVectors:
    return SparseVectors.from_rows(
        [SparseVector(np.array(list(row), np.int32), np.array(list(row.values()), np.float32)) for row in rows], size
    )


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


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    write(
        tmp_path / "corpus.jsonl",
        {"_id": "d1", "title": "당뇨병", "text": "치료 방법"},
        {"_id": "d2", "text": "계약서"},
    )
    write(tmp_path / "queries.jsonl", {"_id": "q1", "text": "계약서"}, {"_id": "q2", "text": "없음"})
    (tmp_path / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td2\t1\nq2\td1\t0\n")
    return tmp_path


def write(path: Path, *rows: dict[str, object]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def test_a_set_is_read_with_titles_and_without_queries_that_have_no_answer(dataset: Path) -> None:
    data = read_dataset(dataset)
    assert data.documents == ("당뇨병 치료 방법", "계약서")
    assert data.query_ids == ("q1",)
    assert data.qrels == (("q1", "d2", 1),)


def test_qrels_may_be_in_a_folder_and_without_header(dataset: Path) -> None:
    (dataset / "qrels").mkdir()
    (dataset / "qrels.tsv").unlink()
    (dataset / "qrels" / "test.tsv").write_text("q1\td2\t1\n")
    assert read_dataset(dataset).qrels == (("q1", "d2", 1),)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("corpus.jsonl", None, r"corpus\.jsonl cannot be read: No such file"),
        ("qrels.tsv", None, r"neither qrels\.tsv nor qrels/test\.tsv"),
        ("corpus.jsonl", "", r"corpus\.jsonl is empty"),
        ("corpus.jsonl", '{"_id": "d1"}\n', r"corpus\.jsonl, line 1: needs '_id' and 'text'"),
        ("corpus.jsonl", '{"_id": "d", "text": ""}\n' * 2, r"line 2: the id 'd' is there twice"),
        ("queries.jsonl", "{\n", r"queries\.jsonl, line 1: not valid JSON"),
        ("qrels.tsv", "q1 d2 1\n", r"qrels\.tsv, line 1: needs three columns"),
        ("qrels.tsv", "q9\td2\t1\n", r"judges query 'q9', which is not"),
        ("qrels.tsv", "q1\td9\t1\n", r"judges document 'd9', which is not"),
        ("qrels.tsv", "q1\td2\t0\n", r"no relevant document for any query"),
    ],
)
def test_a_malformed_set_is_refused(dataset: Path, name: str, content: str | None, message: str) -> None:
    (dataset / name).unlink()
    if content is not None:
        (dataset / name).write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_dataset(dataset)


def test_a_bundle_is_evaluated(tiny_bundle: Path, dataset: Path) -> None:
    report = evaluate(SparseEncoder.load(tiny_bundle, threads=1), dataset)
    assert (report.scores.queries, report.scores.documents) == (1, 2)
    assert report.scores.recall_at_10 == 1
    assert report.scores.flops > 0
    assert report.variant == "cpu-fp32"


def test_the_command_prints_tables_and_json(tiny_bundle: Path, dataset: Path, tmp_path: Path) -> None:
    arguments = ["evaluate", str(tiny_bundle), "--data", str(dataset), "--terms", str(TERMS), "--threads", "1"]
    result = CliRunner().invoke(main, [*arguments, "--json", str(tmp_path / "out.json")])
    assert result.exit_code == 0
    for part in ("nDCG@10", "FLOPS", "recall of expected words", "garbage outputs", "medical"):
        assert part in result.stdout
    facts = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert facts["retrieval"]["scores"]["recall_at_10"] == 1
    assert len(facts["terms"]["results"]) == 60
    assert json.loads(CliRunner().invoke(main, [*arguments, "--json", "-"]).stdout)["variant"] == "cpu-fp32"


def test_the_command_needs_something_to_measure(tiny_bundle: Path) -> None:
    result = CliRunner().invoke(main, ["evaluate", str(tiny_bundle)])
    assert result.exit_code == 2
    assert "--data" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "{data}", "--data", "{data}"], "Invalid value for '--data': is there 2 times"),
        (["--terms", str(TERMS), "--terms", str(TERMS)], "Invalid value for '--terms': is there 2 times"),
        (["--terms", str(TERMS), "--", "a", "--"], "Got unexpected extra argument (--)"),
        (["--terms", str(TERMS), "--", "a", "b"], "Got unexpected extra argument (b)"),
    ],
)
def test_what_is_there_twice_is_one_clear_error(arguments: list[str], message: str, dataset: Path) -> None:
    result = CliRunner().invoke(main, ["evaluate", *(part.format(data=dataset) for part in arguments)])
    assert result.exit_code == 2
    assert message in result.stderr


def test_what_follows_two_dashes_is_the_bundle(tiny_bundle: Path) -> None:
    result = CliRunner().invoke(main, ["evaluate", "--terms", str(TERMS), "--json", "-", "--", str(tiny_bundle)])
    assert json.loads(result.stdout)["variant"] == "cpu-fp32"
    result = CliRunner().invoke(main, ["evaluate", "--terms", str(TERMS), "--", "--"])
    assert result.exit_code == 1
    assert result.stderr.startswith("error: -- does not exist here")


def test_the_projects_terms_are_whole() -> None:
    terms = read_terms(TERMS)
    assert len(terms) == len({term.term for term in terms}) == 60
    assert {term.domain for term in terms} == {"general", "legal", "medical"}
    assert all(4 <= len(set(term.expected)) == len(term.expected) <= 8 for term in terms)
    assert all(term.term not in term.expected for term in terms)


def test_terms_in_one_json_object(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text('{"가": ["나", "다"]}', encoding="utf-8")
    assert read_terms(tmp_path / "t.json") == (Term("가", ("나", "다")),)


@pytest.mark.parametrize(
    "line", ['{"term": "a"}', '{"term": "a", "expected": []}', '{"term": 1, "expected": ["b"]}', "[]"]
)
def test_malformed_terms_are_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / "t.jsonl").write_text(line + "\n")
    with pytest.raises(InputError, match=r"t\.jsonl, line 1"):
        read_terms(tmp_path / "t.jsonl")


@pytest.mark.parametrize(
    ("token", "noise"),
    [
        ("당뇨", False),
        ("##병", False),
        ("▁AI", False),
        ("2024", False),
        ("法", False),
        ("[unused 7]", True),
        ("[unused12]", True),
        ("##.", True),
        ("ㅋㅋ", True),
        ("##\u11ab", True),
        ("жизнь", True),
        ("の", True),
        ("", True),
        ("▁", True),
    ],
)
def test_noise(token: str, noise: bool) -> None:
    assert is_noise(token) is noise


class Words:
    """An encoder of known vectors over a vocabulary of words."""

    vocabulary = ("[CLS]", "손해", "배상", "##금", ".", "ㅋ", "보상", "!")

    class manifest:  # noqa: N801
        special_token_ids = (0,)

    def __init__(self, *rows: dict[str, float]) -> None:
        self.rows = vectors(*({self.vocabulary.index(token): w for token, w in row.items()} for row in rows))

    def encode(self, texts: list[str], batch_size: int) -> SparseVectors:
        assert len(texts) == len(self.rows)
        return self.rows

    def tokenize_batch(self, texts: Sequence[str], *, special_tokens: bool) -> Any:
        assert not special_tokens
        rows = [[self.vocabulary.index(token) for token in text.split()] for text in texts]
        return TokenizedTexts(rows, np.zeros(len(rows), np.bool_))

    def decode(self, vector: SparseVector, top_k: int) -> list[tuple[str, float]]:
        return [(self.vocabulary[i], w) for i, w in vector.to_dict().items()][:top_k]


def score(encoder: Words, *terms: Term):  # type: ignore[no-untyped-def]
    return evaluate_terms(encoder, terms)  # type: ignore[arg-type]


def test_an_expected_word_needs_all_its_tokens() -> None:
    report = score(
        Words({"손해": 2.0, "배상": 1.0}, {"보상": 1.0}),
        Term("a", ("손해", "배상 ##금", "손해 배상", "[CLS]"), "x"),
        Term("b", ("보상",), "y"),
    )
    assert report.results[0].found == ("손해", "손해 배상")
    assert report.results[0].missing == ("배상 ##금", "[CLS]")
    assert report.recall == pytest.approx(3 / 5)
    assert report.recall_by_domain == {"x": pytest.approx(1 / 2), "y": 1.0}
    assert report.dimensions == 1.5


def test_garbage_is_more_than_half_noise_or_nothing() -> None:
    report = score(
        Words({"손해": 2.0, ".": 1.0}, {"[CLS]": 3.0, ".": 2.0, "손해": 1.0}, {}, {"ㅋ": 1.0}),
        *(Term(name, ("손해",)) for name in "abcd"),
    )
    assert [result.garbage for result in report.results] == [False, True, True, True]
    assert report.garbage == 3


def test_the_same_answer_to_every_term_is_garbage() -> None:
    same = [{"손해": 1.0, "배상": 1.0}] * 10
    assert score(Words(*same), *(Term(str(i), ("손해",)) for i in range(10))).garbage == 10
    assert score(Words(*same[:9]), *(Term(str(i), ("손해",)) for i in range(9))).garbage == 0


def test_the_real_set_runs(tiny_bundle: Path, shared: Path, tmp_path: Path) -> None:
    folder = shared / "data" / "tydi_retrieval"
    small = tmp_path / "small"
    small.mkdir()
    shutil.copy(folder / "queries.jsonl", small)
    documents = (folder / "corpus.jsonl").read_text(encoding="utf-8").splitlines()[:100]
    (small / "corpus.jsonl").write_text("\n".join(documents), encoding="utf-8")
    kept = {json.loads(line)["_id"] for line in documents}
    judgements = (folder / "qrels.tsv").read_text(encoding="utf-8").splitlines()
    (small / "qrels.tsv").write_text("\n".join(j for j in judgements if j.split("\t")[1] in {*kept, "corpus-id"}))
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
