"""Term lists: does a bundle expand a term into the words one would expect, and is what it gives sane?

A line of a list is `{"term": "손해배상", "expected": ["배상", "보상"], "domain": "legal"}`.

- An expected word is **found** if every token that the bundle's tokenizer splits it into (special tokens aside) has a
  weight above 0 in the term's vector: that is when a search for the word alone would match with all its parts.
- **Recall** is the share of all expected words that are found, over all terms; a vector counts with all its entries.
- A term's output is **garbage** if it is empty, or if more than half of its ten heaviest tokens are noise. Noise is
  a special or unused token; a token without a Hangul syllable, a Latin letter, a Chinese character or a digit
  (punctuation, loose jamo, other scripts); and, in a list of ten terms or more, a token that is among the ten heaviest
  of more than half of the terms, so that a model that answers the same to everything does not pass.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..encoder import SparseEncoder
from ..errors import InputError
from ..json_text import parse_json
from ..vectors import SparseVector, SparseVectors
from .dataset import read_objects

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

HEAVIEST = 10  # tokens of an output that are looked at for garbage
FEWEST_TERMS = 10  # for a token to count as noise by being everywhere
UNUSED = re.compile(r"\[unused ?\d+\]|<unused\d+>")
CONTINUATIONS = ("##", "▁", "Ġ")  # how WordPiece, SentencePiece and byte-level BPE mark a token's place in a word
WORD_SCRIPTS = ("HANGUL SYLLABLE", "LATIN", "CJK UNIFIED", "CJK COMPATIBILITY IDEOGRAPH")


@dataclass(frozen=True)
class Term:
    """A term, the words that its expansion should have, and what it is of ("" if nothing says)."""

    term: str
    expected: tuple[str, ...]
    domain: str = ""


@dataclass(frozen=True)
class TermResult:
    """What became of one term. `heaviest` holds its ten heaviest (token, weight)."""

    term: Term
    found: tuple[str, ...]
    missing: tuple[str, ...]
    garbage: bool
    dimensions: int
    heaviest: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class TermReport:
    """A bundle's score on a term list.

    Attributes:
        recall: share of the expected words that were found, 0 to 1.
        recall_by_domain: the same for each domain of the list.
        garbage: number of terms whose output is garbage.
        dimensions: mean number of weights above 0 of a term's vector.
    """

    recall: float
    recall_by_domain: dict[str, float]
    garbage: int
    dimensions: float
    results: tuple[TermResult, ...]


def read_terms(path: str | Path) -> tuple[Term, ...]:
    """Read a term list: JSONL as above, or a `.json` object `{term: [expected, ...]}`.

    Raises:
        InputError: the file cannot be read, or an entry is malformed.
    """
    path = Path(path)
    if path.suffix == ".json":
        try:
            content = parse_json(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{path} cannot be read: {error}") from None
        if not isinstance(content, dict):
            raise InputError(f"{path} holds {type(content).__name__} instead of an object {{term: [expected, ...]}}")
        terms = tuple(_term(f"{path}, {term!r}", {"term": term, "expected": words}) for term, words in content.items())
    else:
        terms = tuple(_term(where, value) for where, value in read_objects(path))
    if not terms:
        raise InputError(f"{path} has no terms")
    return terms


def _term(where: str, value: dict[str, Any]) -> Term:
    term, expected, domain = value.get("term"), value.get("expected"), value.get("domain", "")
    words = expected if isinstance(expected, list) else []
    if not isinstance(term, str) or not isinstance(domain, str) or not all(isinstance(word, str) for word in words):
        raise InputError(f"{where}: needs 'term', a string, and 'expected', a list of strings")
    if not words:
        raise InputError(f"{where}: 'expected' has no words")
    return Term(term, tuple(words), domain)


def evaluate_terms(encoder: SparseEncoder, terms: Sequence[Term], *, batch_size: int = 32) -> TermReport:
    """Encode the terms and score their expansions; the module's text says how.

    Raises:
        InputError: there are no terms.
    """
    if not terms:
        raise InputError("there are no terms; give at least one")
    vectors = encoder.encode([term.term for term in terms], batch_size=batch_size)
    words = [encoder.tokenize_batch(term.expected, special_tokens=False).input_ids for term in terms]
    return score_terms(terms, vectors, words, encoder.tokens, encoder.manifest.special_token_ids)


def score_terms(
    terms: Sequence[Term],
    vectors: SparseVectors,
    expected_ids: Sequence[Sequence[Sequence[int]]],
    tokens: Sequence[str] | NDArray[np.object_],
    special_token_ids: Iterable[int],
) -> TermReport:
    """Score vectors of the terms, in their order, whatever made them.

    Args:
        terms: at least one.
        vectors: one a term.
        expected_ids: of each term, the token ids of each expected word, without special tokens.
        tokens: the vocabulary's tokens by id.
        special_token_ids: ids that count for no word.
    """
    everywhere = _everywhere(vectors)
    special = set(special_token_ids)
    results = []
    for term, vector, words in zip(terms, vectors, expected_ids, strict=True):
        present = set(vector.indices.tolist()) - special
        found = [word for word, ids in zip(term.expected, words, strict=True) if _is_found(ids, present)]
        top = list(vector.to_dict().items())[:HEAVIEST]
        noise = sum(i in special or i in everywhere or is_noise(tokens[i]) for i, _ in top)
        results.append(
            TermResult(
                term=term,
                found=tuple(found),
                missing=tuple(word for word in term.expected if word not in found),
                garbage=2 * noise > len(top) or not top,
                dimensions=len(vector),
                heaviest=tuple((tokens[i], weight) for i, weight in top),
            )
        )
    domains = sorted({term.domain for term in terms} - {""})
    return TermReport(
        recall=_recall(results),
        recall_by_domain={name: _recall([r for r in results if r.term.domain == name]) for name in domains},
        garbage=sum(result.garbage for result in results),
        dimensions=sum(result.dimensions for result in results) / len(results),
        results=tuple(results),
    )


def is_noise(token: str) -> bool:
    """Whether a token is no part of a word: unused, or without a letter of the scripts Korean text is written in."""
    for mark in CONTINUATIONS:
        token = token.removeprefix(mark)
    return UNUSED.fullmatch(token) is not None or not any(map(_is_word_character, token))


def _is_word_character(character: str) -> bool:
    return character.isdecimal() or unicodedata.name(character, "").startswith(WORD_SCRIPTS)


def _is_found(token_ids: Sequence[int], present: set[int]) -> bool:
    return bool(token_ids) and present.issuperset(token_ids)


def _everywhere(vectors: Sequence[SparseVector]) -> set[int]:
    """Ids that are among the heaviest of more than half of the vectors."""
    if len(vectors) < FEWEST_TERMS:
        return set()
    counts = Counter(i for vector in vectors for i in vector.indices[:HEAVIEST].tolist())
    return {i for i, count in counts.items() if 2 * count > len(vectors)}


def _recall(results: Iterable[TermResult]) -> float:
    results = list(results)
    return sum(len(r.found) for r in results) / sum(len(r.term.expected) for r in results)
