"""The stage of single terms at tiny size: which words are neighbours, and that terms learn them while texts stay."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("transformers", reason="needs the export extra: pip install 'spladert[export]'")
pytest.importorskip("scipy", reason="needs the evaluate extra: pip install 'spladert[evaluate]'")
pytest.importorskip("ir_measures", reason="needs the evaluate extra: pip install 'spladert[evaluate]'")

import torch
from tokenizers import Tokenizer

from support.spelling import Spelling
from training import tokenizer as word_piece
from training.config import Meaning, Shape, Teacher, Terms
from training.meaning import WordNeighbours, is_noun
from training.model import build
from training.teacher import make_teacher
from training.terms import TermTargets, make_terms, naming_loss, term_loss

TOPICS = (("환자", "병원", "의사"), ("법원", "판사", "소송"), ("열차", "승객", "철도"))
TEXTS = [
    f"{first}{particle} {second}와 {third}{particle}"
    for topic in TOPICS
    for turn in range(12)
    for first, second, third in [(topic[turn % 3], topic[(turn + 1) % 3], topic[(turn + 2) % 3])]
    for particle in ("은", "는", "의", "가", "에")
]
MEANING = Meaning(least_idf=0.1)
TERMS = Terms(most=6, seen=1, particles=1)
TEACHER = Teacher(neighbour_texts=1, neighbour_idf=0.5, together=2)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    pieces = [word for topic in TOPICS for word in topic]
    vocab = word_piece.SPECIAL + pieces + [f"##{particle}" for particle in "은는의가에와"]
    return word_piece.new_tokenizer({piece: number for number, piece in enumerate(vocab)})


@pytest.fixture(scope="module")
def ids(tokenizer: Tokenizer) -> list[list[int]]:
    return [coding.ids for coding in tokenizer.encode_batch(TEXTS, add_special_tokens=False)]


@pytest.fixture(scope="module")
def neighbours(tokenizer: Tokenizer, ids: list[list[int]]) -> WordNeighbours:
    size = tokenizer.get_vocab_size()
    nothing = np.eye(size, dtype=np.float32)  # of company: each token is alone
    return WordNeighbours(tokenizer, ids, word_piece.count_words(TEXTS), nothing, Spelling().queries, MEANING)


def test_nouns_take_the_particles_of_nouns() -> None:
    words = Counter(["병원은", "병원이", "병원을", "환자는", "환자가", "앓고는", "너무도"])
    assert [is_noun(word, words, 2) for word in ("병원", "환자", "앓고", "너무", "AI")] == [
        True,
        True,
        False,
        False,
        True,
    ]


def test_words_that_meet_are_neighbours(tokenizer: Tokenizer, neighbours: WordNeighbours) -> None:
    for topic in TOPICS:
        for word in topic:
            [closest] = neighbours.of([word], 2).tokens
            assert {tokenizer.id_to_token(token) for token in closest.tolist()} == set(topic) - {word}


@pytest.fixture
def terms(tokenizer: Tokenizer, ids: list[list[int]], neighbours: WordNeighbours) -> TermTargets:
    alike = np.full((tokenizer.get_vocab_size(), 4), 0.5, np.float32)
    teacher = make_teacher(tokenizer, ids, alike, TEACHER)
    return make_terms(tokenizer, word_piece.count_words(TEXTS), teacher, TERMS, neighbours, 20)


@pytest.mark.parametrize("stage", ["as a masked LM", "as SPLADE"])
def test_terms_learn_their_neighbours(tokenizer: Tokenizer, terms: TermTargets, stage: str) -> None:
    model = build(Shape(tokenizer.get_vocab_size(), hidden=16, intermediate=24, layers=1, heads=2), 24, seed=1)
    assert len(terms.ids) == 9
    assert (terms.targets.toarray() > 0).sum(1).max() <= TERMS.most
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    losses = []
    for number in range(80):
        seed = [3, number]
        loss, report = (
            naming_loss(model, terms, 9, seed)
            if stage == "as a masked LM"
            else term_loss(model, terms, 9, 0.3, 20, seed)
        )
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(report["terms"])
    shares = terms.targets.toarray() / terms.targets.toarray().sum(1, keepdims=True)
    entropy = float(-np.sum(shares * np.log(np.where(shares > 0, shares, 1))) / len(shares))
    least = entropy if stage == "as a masked LM" else 0.0  # that a cross-entropy can reach
    assert np.mean(losses[-10:]) - least < 0.7 * (np.mean(losses[:10]) - least)


def test_a_noun_that_the_texts_show_too_seldom_is_a_term_if_named(
    tokenizer: Tokenizer, ids: list[list[int]], neighbours: WordNeighbours
) -> None:
    alike = np.full((tokenizer.get_vocab_size(), 4), 0.5, np.float32)
    teacher, nothing = make_teacher(tokenizer, ids, alike, TEACHER), Counter[str]()
    named = frozenset(["법원", "병원", "바다"])  # the last in letters that no piece has
    terms = make_terms(tokenizer, nothing, teacher, replace(TERMS, particles=3), neighbours, 20, named)
    assert [tokenizer.decode(row) for row in terms.ids] == ["법원", "병원"]
