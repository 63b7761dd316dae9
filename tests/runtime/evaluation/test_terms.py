from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from spladert import InputError, SparseEncoder
from spladert.evaluation import Term, TermReport, evaluate_terms, read_terms, score_terms
from spladert.evaluation.terms import is_noise
from support.paths import ROOT
from support.vectors import sparse_vectors

TERMS = ROOT / "benchmarks" / "terms_ko.jsonl"
VOCABULARY = ("[CLS]", "손해", "배상", "##금", ".", "ㅋ", "보상", "!")


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


def score(outputs: Sequence[dict[str, float]], *terms: Term) -> TermReport:
    """The score of known outputs, {token: weight}; a word's tokens have spaces between."""
    vectors = sparse_vectors([{VOCABULARY.index(token): w for token, w in row.items()} for row in outputs], 8)
    words = [[[VOCABULARY.index(token) for token in word.split()] for word in term.expected] for term in terms]
    return score_terms(terms, vectors, words, VOCABULARY, special_token_ids=(0,))


def test_an_expected_word_needs_all_its_tokens() -> None:
    report = score(
        [{"손해": 2.0, "배상": 1.0}, {"보상": 1.0}],
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
        [{"손해": 2.0, ".": 1.0}, {"[CLS]": 3.0, ".": 2.0, "손해": 1.0}, {}, {"ㅋ": 1.0}],
        *(Term(name, ("손해",)) for name in "abcd"),
    )
    assert [result.garbage for result in report.results] == [False, True, True, True]
    assert report.garbage == 3


def test_the_same_answer_to_every_term_is_garbage() -> None:
    same = [{"손해": 1.0, "배상": 1.0}] * 10
    assert score(same, *(Term(str(i), ("손해",)) for i in range(10))).garbage == 10
    assert score(same[:9], *(Term(str(i), ("손해",)) for i in range(9))).garbage == 0


def test_the_tokens_and_words_of_a_bundle_are_scored() -> None:
    report = evaluate_terms(
        SparseEncoder.load(device="cpu"), [Term("계약서", ("계약서", "근로계약서", "당뇨병"), "legal")]
    )
    (result,) = report.results
    assert (result.found, result.missing, result.garbage) == (("계약서", "근로계약서"), ("당뇨병",), False)
    assert [token for token, _ in result.heaviest][:2] == ["계약서", "근로계약서"]
    assert report.recall_by_domain == {"legal": pytest.approx(2 / 3)}


def test_no_terms_are_refused() -> None:
    with pytest.raises(InputError, match="there are no terms"):
        evaluate_terms(SparseEncoder.load(device="cpu"), [])
