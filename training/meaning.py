"""Which words of the vocabulary belong to a term: by a dense teacher, by what meets in one text, and by like company.

Each source ranks the words, and the ranks are fused (reciprocal ranks, Cormack et al., 2009). Alone, the dense teacher
takes look-alikes (사기: 사지) and co-occurrence takes what is merely frequent; what several name is right.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from tokenizers import Tokenizer

from training.config import Meaning
from training.lexical import counts, presence
from training.tokenizer import ENDINGS, is_korean_word

# Particles of a noun that ends in a consonant, and in a vowel: verbs and adverbs take few of the right kind.
PARTICLES = (
    ("을", "은", "이", "과", "으로", "의", "에", "에서", "이나", "이라는"),
    ("를", "는", "가", "와", "로", "의", "에", "에서", "나", "라는"),
)
DEPTH = 400  # ranks of a source that count
BATCH = 256  # terms at a time

Embed = Callable[[Sequence[str]], np.ndarray]


@dataclass(frozen=True)
class Neighbours:
    """Words that belong to terms.

    Attributes:
        tokens: int32 [terms, most], token ids, the closest first.
        strengths: float32 [terms, most], 1 for the closest.
    """

    tokens: np.ndarray
    strengths: np.ndarray


def noun_particles(word: str, words: Counter[str]) -> int:
    """How many different particles of a noun a Korean word is seen with."""
    open_syllable = (ord(word[-1]) - ord("가")) % 28 == 0
    return sum(words[word + particle] > 0 for particle in PARTICLES[open_syllable])


def is_noun(word: str, words: Counter[str], least: int) -> bool:
    """Whether a word is seen with enough different particles of a noun; words of Latin letters are taken for nouns."""
    return not "가" <= word[-1] <= "힣" or noun_particles(word, words) >= least


def _is_word(piece: str) -> bool:
    return is_korean_word(piece) or (len(piece) >= 2 and piece.isascii() and piece.isalpha())


class WordNeighbours:
    """The nouns of a vocabulary, each with what the sources know of it."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        ids: list[list[int]],
        words: Counter[str],
        embedding: np.ndarray,
        embed: Embed,
        settings: Meaning,
        nouns: Container[str] = (),
    ) -> None:
        """
        Args:
            ids: the training texts, without special tokens.
            words: how often each word of them is written so.
            embedding: float32 [vocabulary, width], unit vectors of tokens by their company.
            embed: unit vectors of words by the dense teacher.
            nouns: words that are nouns whatever the texts show.
        """
        self._settings, self._embed, self._embedding = settings, embed, embedding
        self._tokenizer = tokenizer
        vocab = tokenizer.get_vocab()
        pieces = sorted(vocab, key=vocab.__getitem__)
        texts = presence(counts(ids, len(vocab))).tocsr()
        held = np.bincount(texts.indices, minlength=len(vocab))
        common = texts.shape[0] * np.exp(-settings.least_idf)
        self.tokens = np.array(
            [
                token
                for token, piece in enumerate(pieces)
                if _is_word(piece)
                and settings.least_texts <= held[token] <= common
                and (piece in nouns or is_noun(piece, words, settings.particles))
            ]
        )
        self._place = {int(token): place for place, token in enumerate(self.tokens)}
        self._content = np.array([len(piece.removeprefix("##")) >= 2 for piece in pieces])
        self._content &= np.array([piece.removeprefix("##") not in ENDINGS for piece in pieces])
        names = [pieces[token] for token in self.tokens]
        dense = embed(names)
        self._mean = dense.mean(0)
        self._dense = self._centred(dense)
        self._association = self._associations(texts, held)
        self._letters = {letter: number for number, letter in enumerate(sorted(set("".join(names))))}
        self._spelling = self._spellings(names)

    def of(self, terms: Sequence[str], most: int) -> Neighbours:
        """The closest words of each term; its own tokens are none."""
        found, strengths = [], []
        for batch, scores in self._fused(terms):
            for number, term in enumerate(batch):
                own = [self._place[token] for token in self._ids(term) if token in self._place]
                scores[number, own] = -1.0
            best, values = _best(scores, most)
            found.append(self.tokens[best].astype(np.int32))
            strengths.append(values / values[:, :1])
        return Neighbours(np.concatenate(found), np.concatenate(strengths).astype(np.float32))

    def _fused(self, terms: Sequence[str]) -> Iterator[tuple[Sequence[str], np.ndarray]]:
        settings = self._settings
        dense = self._centred(self._embed(terms))
        for start in range(0, len(terms), BATCH):
            batch = terms[start : start + BATCH]
            parts = self._parts(batch)
            company = (parts @ self._embedding) @ self._embedding[self.tokens].T
            together = (parts @ self._association).toarray()
            fused = np.zeros(company.shape, np.float32)
            supported = np.zeros(company.shape, bool)
            for scores, weight in ((company, settings.company), (together, settings.together)):
                best, values = _best(scores, DEPTH)
                _add(fused, best, np.where(values > 0, weight / (settings.smoothing + _ranks(best)), 0))
                np.put_along_axis(supported, best[:, :DEPTH], values > settings.support, 1)
            best, values = _best(dense[start : start + len(batch)] @ self._dense.T, DEPTH)
            alike = (self._spellings(batch) @ self._spelling.T).toarray() > 0
            doubtful = np.take_along_axis(alike & ~supported, best, 1)
            _add(fused, best, np.where(doubtful, settings.look_alike, 1.0) / (settings.smoothing + _ranks(best)))
            yield batch, fused

    def _ids(self, term: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(term, add_special_tokens=False).ids
        return ids

    def _parts(self, terms: Sequence[str]) -> sparse.csr_matrix:
        """[terms, vocabulary]: a term's tokens of two letters and more, or all where it has none, in equal shares."""
        rows, columns, shares = [], [], []
        for row, term in enumerate(terms):
            ids = self._ids(term)
            kept = [token for token in ids if self._content[token]] or ids
            rows += [row] * len(kept)
            columns += kept
            shares += [1.0 / len(kept)] * len(kept)
        shape = (len(terms), len(self._content))
        return sparse.csr_matrix((np.array(shares, np.float32), (rows, columns)), shape=shape)

    def _associations(self, texts: sparse.csr_matrix, held: np.ndarray) -> sparse.csr_matrix:
        """[vocabulary, words]: normalized pointwise mutual information (Bouma, 2009), less where they met seldom."""
        met = (texts.T @ texts[:, self.tokens]).tocoo()
        often = (met.data >= 2) & (met.row != self.tokens[met.col])
        row, col, joint = met.row[often], met.col[often], met.data[often]
        total = texts.shape[0]
        strength = np.log(joint * total / (held[row] * held[self.tokens[col]])) / -np.log(joint / total)
        strength *= np.sqrt(np.minimum((joint - 1) / 4, 1.0))
        kept = (strength.clip(0).astype(np.float32), (row, col))
        return sparse.csr_matrix(kept, shape=(texts.shape[1], len(self.tokens)))

    def _centred(self, vectors: np.ndarray) -> np.ndarray:
        """Without what all words share, or every word would be near every other."""
        centred = vectors - self._mean
        unit: np.ndarray = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-9)
        return unit

    def _spellings(self, names: Sequence[str]) -> sparse.csr_matrix:
        """[names, letters]"""
        places = [(row, self._letters[x]) for row, name in enumerate(names) for x in set(name) if x in self._letters]
        rows, columns = np.array(places, np.int64).reshape(-1, 2).T
        shape = (len(names), len(self._letters))
        return sparse.csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), shape=shape)


def _best(scores: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Places and values of the best of each row, the best first."""
    most = min(most, scores.shape[1])
    places = np.argpartition(-scores, most - 1, axis=1)[:, :most]
    values = np.take_along_axis(scores, places, 1)
    order = np.argsort(-values, axis=1, kind="stable")
    return np.take_along_axis(places, order, 1), np.take_along_axis(values, order, 1)


def _ranks(places: np.ndarray) -> np.ndarray:
    return np.arange(1, places.shape[1] + 1, dtype=np.float32)[None]


def _add(fused: np.ndarray, places: np.ndarray, amounts: np.ndarray) -> None:
    np.put_along_axis(fused, places, np.take_along_axis(fused, places, 1) + amounts, 1)
