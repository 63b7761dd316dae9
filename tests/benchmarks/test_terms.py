"""The term lists: what is judged by one is in neither the other nor its own answers."""

from __future__ import annotations

from collections import Counter

from spladert.evaluation import read_terms
from support.paths import ROOT

TUNED, JUDGED = (read_terms(ROOT / "benchmarks" / name) for name in ("terms_ko.jsonl", "terms_ko_test.jsonl"))


def test_the_list_to_judge_by_is_long_broad_and_apart_from_the_one_to_tune_on() -> None:
    terms = [term.term for term in JUDGED]
    assert len(set(terms)) == len(terms) >= 200
    assert min(Counter(term.domain for term in JUDGED).values()) >= 50
    assert {term.domain for term in JUDGED} == {"legal", "medical", "general", "it"}
    assert not {term.term for term in TUNED} & set(terms)
    assert all(term.term not in term.expected and len(set(term.expected)) == len(term.expected) for term in JUDGED)
