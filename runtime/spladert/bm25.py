"""BM25 over the model's own tokens, as sparse vectors whose product is the score once the store adds the rarity (IDF).

Words of Korean carry their particles, so that an index by words finds little; the model's subwords find them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from .tokenizer import TextTokenizer

K = 1.2  # how soon a token's repetitions stop counting
B = 0.75  # how much a long text's tokens count less
LENGTH = 256  # tokens of a text that is neither long nor short; a fixed number, so that texts can come and go

Entries = tuple[list[int], list[float]]  # ids, ascending, and their weights


def document_entries(tokenizer: TextTokenizer, texts: Sequence[str]) -> list[Entries]:
    """The entries of each document's text, of any length."""
    found = []
    for ids in tokenizer.all_ids(texts):
        norm = K * (1 - B + B * len(ids) / LENGTH)
        counts = sorted(Counter(ids).items())
        found.append(([i for i, _ in counts], [n * (K + 1) / (n + norm) for _, n in counts]))
    return found


def question_entries(tokenizer: TextTokenizer, question: str) -> Entries:
    """The entries of a question: how often it has each token."""
    counts = sorted(Counter(tokenizer.all_ids([question])[0]).items())
    return [i for i, _ in counts], [float(n) for _, n in counts]
