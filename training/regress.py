"""Lexical regression: the masked LM learns to give the lexical teacher's vector for any text, and any token."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import ModernBertForMaskedLM

from training.config import Regression
from training.model import MARGIN, SparseLogits, sparse_logits_of
from training.teacher import LexicalTeacher
from training.tokenizer import SEP, SPECIAL


@dataclass(frozen=True)
class TextPool:
    """Token ids without special tokens, by kind of text."""

    sentences: list[list[int]]
    passages: list[list[int]]
    queries: list[list[int]]


def distance(found: SparseLogits, targets: Tensor, stray: float) -> Tensor:
    """Squared error of the weights per target entry, plus `stray` times what entries without a target give.

    Below zero a wanted logit counts as it is, so that it can rise again. Unwanted logits are pushed below zero by
    `MARGIN`, so that rounding in a quantized model does not wake them.
    """
    aimed = targets[found.rows, found.entries]
    weights = torch.where(found.values > 0, torch.log1p(F.relu(found.values)), found.values)
    error = torch.where((aimed > 0) | (found.values > 0), weights - aimed, torch.zeros_like(aimed))
    unwanted = torch.where(aimed > 0, torch.zeros_like(aimed), torch.log1p(F.relu(found.values + MARGIN)))
    return ((error.clamp(-4, 4) ** 2).sum() + stray * unwanted.sum()) / (targets > 0).sum()


def _cut(row: list[int], longest: int, chance: np.random.Generator) -> list[int]:
    """The beginning of a text, or now and then a piece from further in."""
    if len(row) <= longest or chance.random() < 0.6:
        return row[:longest]
    start = int(chance.integers(0, len(row) - longest + 1))
    return row[start : start + longest]


def random_tokens(chance: np.random.Generator, vocab_size: int, longest: int) -> list[int]:
    """Tokens in no order: every entry of the vocabulary, however rare, learns to name itself."""
    length = int(chance.integers(1, longest + 1))
    tokens: list[int] = chance.integers(len(SPECIAL), vocab_size, length).tolist()
    return tokens


def phrase(row: list[int], starts_word: np.ndarray, chance: np.random.Generator) -> list[int]:
    """One to three whole words of a text."""
    words = [i for i, token in enumerate(row) if starts_word[token]]
    if not words:
        return row[:8]
    first = int(chance.integers(0, len(words)))
    last = first + int(chance.integers(1, 4))
    end = words[last] if last < len(words) else len(row)
    return row[words[first] : end][:16]


def regression_step(
    model: ModernBertForMaskedLM,
    pool: TextPool,
    teacher: LexicalTeacher,
    starts_word: np.ndarray,
    settings: Regression,
    max_length: int,
    seed: int,
) -> Callable[[int], tuple[Tensor, dict[str, float]]]:
    longest, vocab_size = max_length - 2, len(teacher.idf)

    def draw(chance: np.random.Generator) -> list[int]:
        kind = chance.choice(5, p=settings.mixture)
        if kind == 4:
            return random_tokens(chance, vocab_size, longest)
        source = (pool.sentences, pool.passages, pool.queries, pool.sentences)[kind]
        row = source[int(chance.integers(0, len(source)))]
        return phrase(row, starts_word, chance) if kind == 3 else _cut(row, longest, chance)

    def loss_of_step(step: int) -> tuple[Tensor, dict[str, float]]:
        chance = np.random.default_rng([seed, 2, step])
        drawn = sorted((draw(chance) for _ in range(settings.texts * 4)), key=len)
        start = int(chance.integers(0, 4)) * settings.texts  # one quarter by length: little padding
        rows = [row or [SEP] for row in drawn[start : start + settings.texts]]
        if start == 0:  # the shortest quarter is cheap: take the second with it
            rows = [row or [SEP] for row in drawn[: 2 * settings.texts]]
        targets = torch.from_numpy(teacher.targets(rows))
        found = sparse_logits_of(model, rows, targets, settings.limit)
        loss = distance(found, targets, settings.stray)
        return loss, {"active": float((found.values > 0).sum()) / len(rows)}

    return loss_of_step
