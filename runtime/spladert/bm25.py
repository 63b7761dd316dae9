"""BM25 over the model's own tokens, as sparse vectors whose product is the score once the store adds the rarity (IDF).

Words of Korean carry their particles, so that an index by words finds little; the model's subwords find them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import chain, pairwise

import numpy as np

from .tokenizer import TextTokenizer

K = 1.2  # how soon a token's repetitions stop counting
B = 0.75  # how much a long text's tokens count less
LENGTH = 256  # tokens of a text that is neither long nor short; a fixed number, so that texts can come and go

Entries = tuple[list[int], list[float]]  # ids, ascending, and their weights


def document_entries(token_ids: Sequence[Sequence[int]]) -> list[Entries]:
    """The entries of each document, given as all its token ids (`TextTokenizer.all_ids`), of any number."""
    lengths = np.fromiter(map(len, token_ids), np.int64, len(token_ids))
    flat = np.fromiter(chain.from_iterable(token_ids), np.int64, int(lengths.sum()))
    rows = np.repeat(np.arange(len(token_ids)), lengths)
    stride = int(flat.max(initial=0)) + 1
    keys, counts = np.unique(rows * stride + flat, return_counts=True)
    norm = K * (1 - B + B * lengths / LENGTH)
    weights = (counts * (K + 1) / (counts + norm[keys // stride])).tolist()
    ids = (keys % stride).tolist()
    ends = np.searchsorted(keys, np.arange(len(token_ids) + 1) * stride).tolist()
    return [(ids[begin:end], weights[begin:end]) for begin, end in pairwise(ends)]


def question_entries(tokenizer: TextTokenizer, question: str) -> Entries:
    """The entries of a question: how often it has each token."""
    counts = sorted(Counter(tokenizer.all_ids([question])[0]).items())
    return [i for i, _ in counts], [float(n) for _, n in counts]
