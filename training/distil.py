"""Rankings by a teacher: questions learn how well each of a batch's passages fits, not their own passage alone.

The teacher blends the dense teacher's cosines and the lexical teacher's products, each as standard scores over all
passages of the training pairs. Both read what the model will see of a passage, its beginning.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional as F
from transformers import ModernBertForMaskedLM

from training.config import Contrastive, Distillation
from training.contrastive import heaviest
from training.data import Pair
from training.dense import Dense
from training.lexical import encode_ids
from training.model import sparse_logits_of
from training.regress import distance
from training.teacher import LexicalTeacher
from training.tokenizer import SEP


@dataclass(frozen=True)
class Rankings:
    """What the teacher says of questions and passages.

    Attributes:
        questions, passages: token ids of each, as many as the model reads.
        own: int64 [questions], the passage that each question was asked of.
        scores: float32 [questions, passages].
        nearest: int64 [questions, candidates], for each question the best passages but its own.
    """

    questions: list[list[int]]
    passages: list[list[int]]
    own: np.ndarray
    scores: np.ndarray
    nearest: np.ndarray


def make_rankings(
    pairs: Sequence[Pair],
    tokenizer: Tokenizer,
    teacher: LexicalTeacher,
    dense: Dense,
    settings: Distillation,
    longest: int,
) -> Rankings:
    texts, own = np.unique([_beginning(pair.passage, tokenizer, longest) for pair in pairs], return_inverse=True)
    questions = encode_ids(tokenizer, [pair.query for pair in pairs], longest)
    passages = encode_ids(tokenizer, texts.tolist(), longest)
    cosines = dense.queries([pair.query for pair in pairs]) @ dense.passages(texts.tolist()).T
    shares = np.array([settings.dense_shares.get(pair.source, settings.dense_share) for pair in pairs])[:, None]
    scores = shares * _standard(cosines) + (1 - shares) * _standard(teacher.products(questions, passages))
    others = scores.copy()
    np.put_along_axis(others, own[:, None], -np.inf, 1)
    nearest = np.argsort(-others, axis=1)[:, : settings.candidates]
    return Rankings(questions, passages, own, scores.astype(np.float32), nearest)


def _beginning(text: str, tokenizer: Tokenizer, longest: int) -> str:
    """The text up to the end of its last token that the model reads."""
    offsets = tokenizer.encode(text, add_special_tokens=False).offsets[:longest]
    return text[: offsets[-1][1]] if offsets else text


def _standard(scores: np.ndarray) -> np.ndarray:
    standard: np.ndarray = (scores - scores.mean(1, keepdims=True)) / np.maximum(scores.std(1, keepdims=True), 1e-9)
    return standard


def distillation_loss(
    model: ModernBertForMaskedLM,
    rankings: Rankings,
    teacher: LexicalTeacher,
    settings: Distillation,
    contrast: Contrastive,
) -> Callable[[list[int], float], tuple[Tensor, Tensor]]:
    """(seed, temperature) -> the divergence of a batch's rankings from the teacher's, and its lexical anchor."""

    def loss(seed: list[int], temperature: float) -> tuple[Tensor, Tensor]:
        chance = np.random.default_rng(seed)
        count = len(rankings.questions)
        asked = chance.choice(count, min(settings.pairs, count), replace=False)
        drawn = [rankings.nearest[asked, chance.integers(0, rankings.nearest.shape[1], len(asked))] for _ in range(2)]
        ranked = np.unique(np.concatenate([rankings.own[asked], *drawn]))
        rows = [rankings.questions[i] or [SEP] for i in asked], [rankings.passages[i] or [SEP] for i in ranked]
        of_questions = heaviest(teacher.targets(rows[0]), contrast.question_least)
        targets = [torch.from_numpy(of_questions), torch.from_numpy(teacher.targets(rows[1]))]
        found = [
            sparse_logits_of(model, side, wanted, contrast.limit) for side, wanted in zip(rows, targets, strict=True)
        ]
        left, right = (logits.weights() for logits in found)
        scale = (left.norm(dim=1).mean() * right.norm(dim=1).mean()).detach().clamp(min=1e-6)
        wanted = torch.softmax(torch.from_numpy(rankings.scores[np.ix_(asked, ranked)]) / settings.temperature, 1)
        given = torch.log_softmax(left @ right.T / scale / temperature, 1)
        anchor = sum(distance(logits, side, contrast.stray) for logits, side in zip(found, targets, strict=True))
        return F.kl_div(given, wanted, reduction="batchmean"), torch.as_tensor(anchor)

    return loss
