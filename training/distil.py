"""Rankings by a teacher: questions learn how well each of a batch's passages fits, not their own passage alone.

The teacher blends the dense teacher's cosines and the lexical teacher's products, each as standard scores over all
passages of the training pairs. Both read what the model will see of a passage, its beginning.
"""

from __future__ import annotations

from collections.abc import Callable
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
from training.model import sparse_logits_of
from training.regress import distance
from training.teacher import LexicalTeacher
from training.tokenizer import SEP


@dataclass(frozen=True)
class Rankings:
    """What the teacher says of the training pairs.

    Attributes:
        scores: float32 [pairs, pairs], of each question with each pair's passage.
        nearest: int64 [pairs, candidates], for each question the pairs whose passages are the best but its own.
    """

    scores: np.ndarray
    nearest: np.ndarray


def make_rankings(pairs: list[Pair], products: np.ndarray, dense: Dense, settings: Distillation) -> Rankings:
    """`products` [pairs, pairs] are the lexical teacher's, of each question with each pair's passage.

    The passages of `pairs` are their `beginning`s.
    """
    texts, places = np.unique([pair.passage for pair in pairs], return_inverse=True)
    cosines = dense.queries([pair.query for pair in pairs]) @ dense.passages(texts.tolist())[places].T
    shares = np.array([settings.dense_shares.get(pair.source, settings.dense_share) for pair in pairs])[:, None]
    scores = shares * _standard(cosines) + (1 - shares) * _standard(products)
    others = np.where(places[:, None] == places[None], -np.inf, scores)
    return Rankings(scores.astype(np.float32), np.argsort(-others, axis=1)[:, : settings.candidates])


def beginning(text: str, tokenizer: Tokenizer, longest: int) -> str:
    """The text up to the end of its last token that the model reads."""
    offsets = tokenizer.encode(text, add_special_tokens=False).offsets[:longest]
    return text[: offsets[-1][1]] if offsets else text


def _standard(scores: np.ndarray) -> np.ndarray:
    standard: np.ndarray = (scores - scores.mean(1, keepdims=True)) / np.maximum(scores.std(1, keepdims=True), 1e-9)
    return standard


def distillation_loss(
    model: ModernBertForMaskedLM,
    rankings: Rankings,
    queries: list[list[int]],
    passages: list[list[int]],
    teacher: LexicalTeacher,
    settings: Distillation,
    contrast: Contrastive,
) -> Callable[[list[int], float], tuple[Tensor, Tensor]]:
    """(seed, temperature) -> the divergence of a batch's rankings from the teacher's, and its lexical anchor."""

    def loss(seed: list[int], temperature: float) -> tuple[Tensor, Tensor]:
        chance = np.random.default_rng(seed)
        asked = chance.choice(len(queries), min(settings.pairs, len(queries)), replace=False)
        drawn = [rankings.nearest[asked, chance.integers(0, rankings.nearest.shape[1], len(asked))] for _ in range(2)]
        ranked = np.unique(np.concatenate([asked, *drawn]))
        rows = [queries[i] or [SEP] for i in asked], [passages[i] or [SEP] for i in ranked]
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
