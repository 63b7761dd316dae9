"""The lexical teacher: what a text's sparse vector should be before any contrastive training.

A text's own tokens get their inverse document frequency, more so near the text's beginning; to these are added, with
less weight, entries that the tokens imply: the same piece inside or at the start of a word (시청, ##시청), the words
inside a compound (손해배상 -> 손해, 배상), and neighbours in meaning (환자 -> 병원), found by co-occurrence.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from tokenizers import Tokenizer

from training.config import Teacher
from training.lexical import counts, inverse_document_frequency, presence
from training.tokenizer import ENDINGS, SPECIAL, is_korean_word


@dataclass(frozen=True)
class LexicalTeacher:
    settings: Teacher
    idf: np.ndarray  # [V], scaled to the model's weights
    emphasis: np.ndarray  # [V], under 1 for endings and punctuation
    implied: sparse.csr_matrix  # [V, V], share of the full weight that row's token gives to the column's entry

    def targets(self, ids: list[list[int]]) -> np.ndarray:
        """Target weights [B, V] of texts given as token ids; special tokens get none."""
        settings, vocab_size = self.settings, len(self.idf)
        rows, entries, factors = [], [], []
        for number, row in enumerate(ids):
            tokens = np.array([token for token in row if token >= len(SPECIAL)], dtype=np.int64)
            unique, first = np.unique(tokens, return_index=True)
            rows.append(np.full(len(unique), number))
            entries.append(unique)
            factors.append(1 + settings.lead * np.exp(-first / settings.lead_tokens))
        index = (np.concatenate(rows), np.concatenate(entries))
        own = sparse.csr_matrix((np.concatenate(factors).astype(np.float32), index), shape=(len(ids), vocab_size))
        implied = (own @ self.implied).tocsr()
        implied.data = np.minimum(implied.data, settings.implied_limit)
        strength = own.maximum(implied).toarray()
        weights: np.ndarray = strength * (self.idf * self.emphasis)
        return weights

    def products(self, queries: list[list[int]], passages: list[list[int]], at_once: int = 256) -> np.ndarray:
        """Dot products [queries, passages] of the targets."""
        asked, held = (
            sparse.vstack(
                [sparse.csr_matrix(self.targets(rows[i : i + at_once])) for i in range(0, len(rows), at_once)]
            )
            for rows in (queries, passages)
        )
        products: np.ndarray = (asked @ held.T).toarray()
        return products


def _word(piece: str) -> str:
    return piece.removeprefix("##")


def _is_content(piece: str) -> bool:
    return is_korean_word(_word(piece))


def _word_parts(vocab: dict[str, int], settings: Teacher) -> list[tuple[int, int, float]]:
    """(token, implied entry, share): the same piece at the other place in a word, and words inside a compound."""
    links = []
    for piece, number in vocab.items():
        if number < len(SPECIAL) or not _is_content(piece):
            continue
        word, inner = _word(piece), piece.startswith("##")
        twin = word if inner else "##" + word
        if twin in vocab:
            links.append((number, vocab[twin], settings.twin_share))
        for cut in range(1 if inner else 2, len(word) - 1):
            head, tail = word[:cut], word[cut:]
            if not inner and head in vocab and len(word) >= 3:
                links.append((number, vocab[head], settings.part_share))
            if tail in vocab and _is_content(tail):
                links.append((number, vocab[tail], settings.part_share))
        if not inner and len(word) >= 3 and word[:-1] in vocab:  # 계약서 -> 계약
            links.append((number, vocab[word[:-1]], settings.part_share))
    return links


def _neighbours(
    term_counts: sparse.csr_matrix, idf: np.ndarray, pieces: list[str], embedding: np.ndarray, settings: Teacher
) -> list[tuple[int, int, float]]:
    """(token, neighbour, share): the best few by similarity of context and co-occurrence in one text together."""
    held = np.bincount(term_counts.indices, minlength=len(pieces))
    content = np.array([_is_content(piece) for piece in pieces])
    content &= (held >= settings.neighbour_texts) & (idf > settings.neighbour_idf)
    texts = presence(term_counts).multiply(content[None, :]).tocsr()
    texts.eliminate_zeros()
    together = (texts.T @ texts).tocoo()
    often = (together.row != together.col) & (together.data >= settings.together)
    row, col, joint = together.row[often], together.col[often], together.data[often]
    total = term_counts.shape[0]
    association = np.log(joint * total / (held[row] * held[col])) / -np.log(joint / total)
    similarity = np.einsum("ij,ij->i", embedding[row], embedding[col])
    strength = np.sqrt(np.clip(similarity * settings.similarity_gain, 0, 1) * np.clip(association, 0, 1))
    links = []
    for token in np.unique(row):
        own = np.flatnonzero((row == token) & (strength > settings.neighbour_strength))
        best = own[np.argsort(-strength[own])][: settings.neighbours]
        links += [(int(token), int(col[link]), float(strength[link]) * settings.neighbour_share) for link in best]
    return links


def make_teacher(
    tokenizer: Tokenizer, ids: list[list[int]], embedding: np.ndarray, settings: Teacher
) -> LexicalTeacher:
    """`ids` are the training texts without special tokens; `embedding` has unit rows."""
    vocab = tokenizer.get_vocab()
    pieces = sorted(vocab, key=vocab.__getitem__)
    term_counts = counts(ids, len(vocab))
    idf = inverse_document_frequency(term_counts)
    idf[: len(SPECIAL)] = 0.0
    links = _word_parts(vocab, settings) + _neighbours(term_counts, idf, pieces, embedding, settings)
    row, col, share = (np.array(column) for column in zip(*links, strict=True))
    strongest = np.argsort(share, kind="stable")  # later assignments win: the largest share of a repeated link
    kept = {(row[link], col[link]): share[link] for link in strongest}
    places = np.array(list(kept)).T  # [2, links]
    shares = np.array(list(kept.values()), np.float32)
    implied = sparse.csr_matrix((shares, (places[0], places[1])), shape=(len(vocab), len(vocab)))
    quiet = np.array([piece.startswith("##") and _word(piece) in ENDINGS for piece in pieces])
    quiet |= np.array([not any(letter.isalnum() for letter in piece) for piece in pieces])
    emphasis = np.where(quiet, settings.quiet_emphasis, 1.0).astype(np.float32)
    return LexicalTeacher(settings, idf * settings.scale, emphasis, implied)
