"""Contrastive training in three phases: in-batch InfoNCE, FLOPS regularisation, and a lexical anchor.

The anchor is the lexical teacher's target for the batch's texts, and for a few texts of random tokens: without these,
words too rare to occur in the batches drift and gather meaningless entries.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import ModernBertForMaskedLM

from training.config import Contrastive, Phase
from training.model import sparse_logits_of
from training.regress import distance, phrase, random_tokens
from training.teacher import LexicalTeacher
from training.tokenizer import SEP

KINDS = ("phrase", "crop", "lead", "question", "pair", "triplet")
QUERY_TOKENS = 32


@dataclass(frozen=True)
class Example:
    query: list[int]
    positive: list[int]
    negative: list[int] | None = None


@dataclass(frozen=True)
class Material:
    """Token ids without special tokens; `negatives` holds, for each pair, rows of similar passages of other pairs."""

    sentences: list[list[int]]
    passages: list[list[int]]
    pairs: list[tuple[list[int], list[int]]]
    triplets: list[tuple[list[int], list[int], list[int]]]
    negatives: list[list[int]]
    starts_word: np.ndarray


def similar_passages(products: np.ndarray, passages: list[list[int]], keep: int = 12, skip: int = 1) -> list[list[int]]:
    """Hard negatives by the lexical teacher's `products`: for each query the best passages that are not its own."""
    scores = products.copy()
    own = scores.diagonal().copy()
    duplicate = np.array([hash(tuple(row)) for row in passages])
    scores[duplicate[None, :] == duplicate[:, None]] = -1
    scores[scores > 1.3 * own[:, None] + 1e-6] = -1  # far better than the given answer: likely an answer as well
    best: list[list[int]] = np.argsort(-scores, axis=1)[:, skip : skip + keep].tolist()
    return best


def _words(row: list[int], starts_word: np.ndarray) -> list[list[int]]:
    words: list[list[int]] = []
    for token in row:
        if starts_word[token] or not words:
            words.append([])
        words[-1].append(token)
    return words


def _thinned(row: list[int], starts_word: np.ndarray, rate: float, chance: np.random.Generator) -> list[int]:
    """The text without a random share of its words."""
    words = _words(row, starts_word)
    kept = [word for word in words if chance.random() > rate] or words[:1]
    return [token for word in kept for token in word]


def _draw(kind: str, material: Material, longest: int, chance: np.random.Generator) -> Example:
    def one(rows: list[list[int]]) -> list[int]:
        row = rows[int(chance.integers(0, len(rows)))]
        return row or [SEP]

    starts = material.starts_word
    if kind == "pair":
        number = int(chance.integers(0, len(material.pairs)))
        query, passage = material.pairs[number]
        other = material.negatives[number][int(chance.integers(0, len(material.negatives[number])))]
        if chance.random() < 0.5:
            query = _thinned(query, starts, 0.15, chance)
        return Example(query[:longest], passage[:longest], material.pairs[other][1][:longest])
    if kind == "triplet":
        anchor, positive, negative = material.triplets[int(chance.integers(0, len(material.triplets)))]
        return Example(anchor[:longest], positive[:longest], negative[:longest])
    if kind == "lead":
        words = _words(one(material.passages)[: longest + QUERY_TOKENS], starts)
        cut = int(chance.integers(2, 9))
        head = [token for word in words[:cut] for token in word]
        rest = [token for word in words[cut:] for token in word]
        return Example(head[:QUERY_TOKENS], (rest or head)[:longest])
    text = one(material.passages if chance.random() < 0.4 else material.sentences)[:longest]
    if kind == "phrase":
        return Example(phrase(text, starts, chance), text)
    if kind == "question":  # two phrases of the text, ended like a real question
        asked, _ = material.pairs[int(chance.integers(0, len(material.pairs)))]
        tail = [token for word in _words(asked, starts)[-3:] for token in word]
        head = phrase(text[: longest // 2], starts, chance) + phrase(text, starts, chance)
        return Example((head + tail)[:QUERY_TOKENS], text)
    return Example(_thinned(text, starts, 0.5, chance), _thinned(text, starts, 0.2, chance))


def _info_nce(queries: Tensor, passages: Tensor, same: Tensor, temperature: float) -> tuple[Tensor, float]:
    """Dot products over the batch's mean norms, so that training ranks as the index will; `same` hides repeats."""
    scale = (queries.norm(dim=1).mean() * passages.norm(dim=1).mean()).clamp(min=1e-6)  # a batch may have no weight
    scores = queries @ passages.T / scale.detach() / temperature
    scores = scores.masked_fill(same, -1e4)
    labels = torch.arange(len(queries))
    right = float((scores.detach().argmax(1) == labels).float().mean())
    return F.cross_entropy(scores, labels), right


def heaviest(targets: np.ndarray, least: float) -> np.ndarray:
    """Without entries lighter than `least` of a text's heaviest: what they imply misleads a question."""
    kept: np.ndarray = np.where(targets >= least * targets.max(1, keepdims=True), targets, np.float32(0))
    return kept


def flops(weights: Tensor) -> Tensor:
    return (weights.mean(0) ** 2).sum()


def contrastive_step(
    model: ModernBertForMaskedLM,
    material: Material,
    teacher: LexicalTeacher,
    phase: Phase,
    settings: Contrastive,
    max_length: int,
    seed: int,
) -> Callable[[int], tuple[Tensor, dict[str, float]]]:
    longest = max_length - 2

    def loss_of_step(step: int) -> tuple[Tensor, dict[str, float]]:
        chance = np.random.default_rng([seed, 3, int(1000 * phase.temperature), step])
        kinds = chance.choice(KINDS, size=settings.pairs, p=phase.mixture)
        examples = [_draw(str(kind), material, longest, chance) for kind in kinds]
        queries = [example.query or [SEP] for example in examples]
        passages = [example.positive or [SEP] for example in examples]
        passages += [example.negative for example in examples if example.negative]
        keys = torch.tensor([hash(tuple(row)) for row in passages])
        same = (keys[None, :] == keys[: len(queries), None]) & ~torch.eye(len(queries), len(passages), dtype=torch.bool)
        query_targets = torch.from_numpy(heaviest(teacher.targets(queries), settings.question_least))
        passage_targets = torch.from_numpy(teacher.targets(passages))
        query_logits = sparse_logits_of(model, queries, query_targets, settings.limit)
        passage_logits = sparse_logits_of(model, passages, passage_targets, settings.limit)
        query_weights, passage_weights = query_logits.weights(), passage_logits.weights()
        matching, right = _info_nce(query_weights, passage_weights, same, phase.temperature)
        anchor = distance(query_logits, query_targets, settings.stray)
        anchor = anchor + distance(passage_logits, passage_targets, settings.stray)
        rehearsed = [random_tokens(chance, len(teacher.idf), QUERY_TOKENS // 2) for _ in range(settings.rehearsal)]
        rehearsed_targets = torch.from_numpy(teacher.targets(rehearsed))
        rehearsed_logits = sparse_logits_of(model, rehearsed, rehearsed_targets, settings.limit)
        anchor = anchor + distance(rehearsed_logits, rehearsed_targets, settings.stray)
        size = flops(query_weights) + flops(passage_weights)
        loss = phase.weight * matching + settings.anchor * anchor + settings.flops * size
        report = {
            "nce": float(matching.detach()),
            "right": right,
            "anchor": float(anchor.detach()) / 3,
            "flops": float(size.detach()),
            "active_query": float((query_weights > 0).sum()) / len(queries),
            "active_passage": float((passage_weights > 0).sum()) / len(passages),
        }
        return loss, report

    return loss_of_step
