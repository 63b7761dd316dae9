"""Which texts make a batch: as little padding as pays, in batches of bounded size."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, groupby
from numbers import Integral

import numpy as np

from .errors import InputError


@dataclass(frozen=True)
class Limits:
    """What a batch may hold, and what it costs.

    Attributes:
        tokens: the most tokens of a batch, padding included, so that memory does not grow with the number of texts.
        batch_cost: what a batch costs before its first token, counted in tokens.
        texts: the most texts of a batch.
        padded: each text is padded to the longest of its batch; else texts of any length go together at no cost.
    """

    tokens: int
    batch_cost: int
    texts: int = sys.maxsize
    padded: bool = True

    def with_texts(self, texts: int) -> Limits:
        """The same for at most `texts` texts."""
        return replace(self, texts=min(self.texts, texts))

    def fitting(self, length: int) -> int:
        """How many texts of `length` tokens fit in a batch; at least one."""
        return max(min(self.texts, self.tokens // length), 1)


def check_rows(input_ids: Sequence[Sequence[int]], vocabulary_size: int, max_length: int) -> None:
    """
    Raises:
        InputError: these are no rows of token ids, or a row is too long or has an id that is none of the vocabulary.
    """
    if isinstance(input_ids, str) or not isinstance(input_ids, Sequence | np.ndarray):
        raise InputError(f"input_ids is {type(input_ids).__name__}; give a sequence of rows of token ids")
    for position, row in enumerate(input_ids):
        if not isinstance(row, Sequence | np.ndarray) or not all(issubclass(k, Integral) for k in set(map(type, row))):
            raise InputError(f"row {position} is no sequence of token ids, which are integers")
        if len(row) > max_length:
            raise InputError(f"row {position} has {len(row)} tokens; this bundle takes at most {max_length}")
        if len(row) and not (min(row) >= 0 and max(row) < vocabulary_size):
            raise InputError(
                f"row {position} has an id that is not below {vocabulary_size}, the size of the vocabulary"
            )


def batches(lengths: Sequence[int], limits: Limits) -> Iterator[list[int]]:
    """Positions of the texts in batches of similar length, longest first (memory peaks at once).

    Texts without any token, which a tokenizer without special tokens makes of "", are in no batch.
    """
    order = sorted((i for i, length in enumerate(lengths) if length), key=lambda i: -lengths[i])
    if not limits.padded:
        yield from _packed(order, lengths, limits)
        return
    for start, stop in _groups([lengths[i] for i in order], limits):
        while start < stop:
            size = limits.fitting(lengths[order[start]])
            yield order[start : min(start + size, stop)]
            start += size


def _packed(order: Sequence[int], lengths: Sequence[int], limits: Limits) -> Iterator[list[int]]:
    """Batches as full as the limits let them be."""
    batch: list[int] = []
    tokens = 0
    for i in order:
        if batch and (len(batch) == limits.texts or tokens + lengths[i] > limits.tokens):
            yield batch
            batch, tokens = [], 0
        batch.append(i)
        tokens += lengths[i]
    if batch:
        yield batch


def _groups(lengths: Sequence[int], limits: Limits) -> list[tuple[int, int]]:
    """Where to cut the falling `lengths`, as (start, stop) of each group: each is padded to its first text.

    Least cost by dynamic programming over the distinct lengths: a group costs its tokens, padding included, and
    `batch_cost` for each batch that it takes.
    """
    kinds = [(length, len(list(same))) for length, same in groupby(lengths)]
    costs, cuts = [0], [0]
    for stop in range(1, len(kinds) + 1):
        count = tokens = apart = 0
        best: tuple[int, int] | None = None
        for start in range(stop - 1, -1, -1):
            length, texts = kinds[start]
            count, tokens = count + texts, tokens + length * texts
            apart += limits.batch_cost * -(-texts // limits.fitting(length))
            if length * count - tokens > apart:
                break  # each length in batches of its own costs less, and more so with every longer one
            cost = costs[start] + length * count + limits.batch_cost * -(-count // limits.fitting(length))
            if best is None or cost < best[0]:
                best = cost, start
        assert best is not None
        costs.append(best[0])
        cuts.append(best[1])
    starts = [0, *accumulate(texts for _, texts in kinds)]
    groups, stop = [], len(kinds)
    while stop:
        groups.append((starts[cuts[stop]], starts[stop]))
        stop = cuts[stop]
    return groups[::-1]
