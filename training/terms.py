"""Single terms: each learns, beside the texts, the words that belong to it (`training/meaning.py`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container
from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional as F
from transformers import ModernBertForMaskedLM

from training import tokenizer as word_piece
from training.config import Terms
from training.lexical import encode_ids
from training.meaning import WordNeighbours, is_noun
from training.model import autocast, pad, sparse_logits_of
from training.regress import distance
from training.teacher import LexicalTeacher
from training.tokenizer import CLS, SEP, UNK, is_korean_word


@dataclass(frozen=True)
class TermTargets:
    """Terms that are learned.

    Attributes:
        ids: token ids of each, without special tokens.
        targets: float32 [terms, vocabulary].
    """

    ids: list[list[int]]
    targets: sparse.csr_matrix


def make_terms(
    tokenizer: Tokenizer,
    words: Counter[str],
    teacher: LexicalTeacher,
    settings: Terms,
    known: WordNeighbours,
    longest: int,
    nouns: Container[str] = (),
) -> TermTargets:
    """Nouns of the vocabulary and of the texts, whose `words` are counted, with the words that they should give.

    `nouns` are taken for such whatever the texts show; what no pieces spell is left out.
    """
    vocab = tokenizer.get_vocab()
    pieces = [piece.removeprefix("##") for piece in sorted(vocab, key=vocab.__getitem__)]
    stems = {stem for stem, _ in word_piece.split_endings(words).values() if words[stem] >= settings.seen}
    names = [name for name in stems.union(pieces) if is_korean_word(name)]
    names = sorted(name for name in names if name in nouns or is_noun(name, words, settings.particles))
    spelled = zip(names, encode_ids(tokenizer, names, longest), strict=True)
    names, rows = map(list, zip(*((name, row) for name, row in spelled if UNK not in row), strict=True))
    neighbours = known.of(names, settings.most)
    targets = []
    for number, row in enumerate(rows):
        target = _own(row, teacher, pieces)
        share = settings.share * max(float(target.max()), 1.0)
        most = settings.most - int((target > 0).sum())
        tokens = neighbours.tokens[number, :most]
        weights = share * (settings.tail + (1 - settings.tail) * neighbours.strengths[number, :most])
        target[tokens] = np.maximum(target[tokens], weights)
        targets.append(sparse.csr_matrix(target))
    return TermTargets(rows, sparse.vstack(targets).tocsr())


def _own(row: list[int], teacher: LexicalTeacher, pieces: list[str]) -> np.ndarray:
    """The lexical teacher's weights [vocabulary] of a term's own tokens and of the words inside it alone."""
    weights: np.ndarray = teacher.targets([row])[0].astype(np.float32)
    word = "".join(pieces[token] for token in row)
    for entry in np.flatnonzero(weights).tolist():
        if entry not in row and not (len(pieces[entry]) >= 2 and pieces[entry] in word):
            weights[entry] = 0.0
    weights[row] = np.maximum(weights[row], 0.5)
    return weights


def naming_loss(
    model: ModernBertForMaskedLM, terms: TermTargets, count: int, seed: list[int]
) -> tuple[Tensor, dict[str, float]]:
    """As a masked LM: each token of `count` terms, which `seed` chooses, names the words that belong to its term."""
    rows, targets = _drawn(terms, count, seed)
    ids, mask = pad([[CLS, *row, SEP] for row in rows])
    inside = mask.bool() & (ids != CLS) & (ids != SEP)
    with autocast():
        logits = model.decoder(model.head(model.model(input_ids=ids, attention_mask=mask).last_hidden_state[inside]))
    wanted = (targets / targets.sum(1, keepdim=True))[inside.nonzero()[:, 0]]
    loss = F.cross_entropy(logits.float(), wanted)
    return loss, {"terms": float(loss.detach())}


def term_loss(
    model: ModernBertForMaskedLM, terms: TermTargets, count: int, stray: float, limit: int, seed: list[int]
) -> tuple[Tensor, dict[str, float]]:
    """As SPLADE: the distance of `count` terms, which `seed` chooses, from their targets."""
    rows, targets = _drawn(terms, count, seed)
    found = sparse_logits_of(model, rows, targets, limit)
    loss = distance(found, targets, stray)
    return loss, {"terms": float(loss.detach()), "active_term": float((found.values > 0).sum()) / count}


def _drawn(terms: TermTargets, count: int, seed: list[int]) -> tuple[list[list[int]], Tensor]:
    """Token ids of some terms, and their targets [count, vocabulary]."""
    chosen = np.random.default_rng(seed).integers(0, len(terms.ids), count).tolist()
    return [terms.ids[number] for number in chosen], torch.from_numpy(terms.targets[chosen].toarray())
