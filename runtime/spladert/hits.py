"""What the searchers of all stores do with what they find."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any

from .encoder import SparseEncoder
from .errors import InputError
from .files.records import PASSAGE, lone_surrogate
from .stores import MOST, Hit, Match
from .vectors import SparseVector

GROWTH = 4  # times as many passages where those found are of too few documents


def check_question(question: object) -> None:
    """
    Raises:
        InputError: it is no text, or empty, or has a lone surrogate.
    """
    if not isinstance(question, str):
        raise InputError(f"the question is {type(question).__name__}; ask with a str")
    if not question.strip():
        raise InputError("the question is empty; ask something")
    try:
        question.encode()
    except UnicodeEncodeError as error:  # a terminal's bytes that are no UTF-8 become such
        raise InputError(f"the question {lone_surrogate(error)}; type it again, in UTF-8") from None


def encode_question(encoder: SparseEncoder, question: str, *, may_be_empty: bool = False) -> SparseVector:
    """A question's vector.

    Args:
        may_be_empty: whether something else than the vector finds documents too.

    Raises:
        InputError: the question is no text, or empty, or nothing is left of it.
    """
    check_question(question)
    vector = encoder.encode_query(question)
    if not len(vector) and not may_be_empty:
        raise InputError("the question has no token that the model knows; ask in other words")
    return vector


def matches_of(encoder: SparseEncoder, question: SparseVector, document: Mapping[int, float]) -> tuple[Match, ...]:
    """The tokens that a question and a document's `{token id: weight}` share, the one that adds most first."""
    names = encoder.tokens
    found = [
        (weight * document[i], Match(names[i], weight, document[i]))
        for i, weight in zip(question.indices.tolist(), question.values.tolist(), strict=True)
        if i in document
    ]
    found.sort(key=itemgetter(0), reverse=True)
    return tuple(match for _, match in found)


def take_passage(fields: dict[str, Any]) -> Mapping[str, Any] | None:
    """Take out of a document's fields what they say of the passage that it is; None if it is none."""
    passage = fields.get(PASSAGE)
    if not isinstance(passage, Mapping) or "document" not in passage:
        return None
    del fields[PASSAGE]
    return passage


def best_passages(find: Callable[[int], Sequence[Hit]], top: int) -> tuple[Hit, ...]:
    """The best `top` hits, of each document the best passage alone.

    Args:
        find: a number of hits wanted -> so many of the best, or all that there are, the best first.
    """
    wanted = top
    while True:
        hits = find(wanted)
        best: dict[Any, Hit] = {}
        for hit in hits:
            best.setdefault(hit.id if hit.passage is None else ("passage of", hit.passage["document"]), hit)
        if len(best) >= top or len(hits) < wanted or wanted >= MOST:
            return tuple(best.values())[:top]
        wanted = min(wanted * GROWTH, MOST)
