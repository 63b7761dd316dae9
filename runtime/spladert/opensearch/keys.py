"""How a token becomes a key of OpenSearch: one function, the same at ingest and at query."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from ..bundle import Bundle
from ..errors import InputError
from ..tokenizer import TextTokenizer
from ..vectors import SparseVector, SparseVectors

if TYPE_CHECKING:
    from numpy.typing import NDArray

Spelling = Literal["tokens", "ids"]
MAX_KEY_BYTES = 8_000  # a term of Lucene may have 32,766 bytes, a key of JSON in OpenSearch fewer


@dataclass(frozen=True, eq=False)
class Keys:
    """The keys of a vocabulary.

    Attributes:
        spelling: "tokens", "ids", or "numbers" where ids are renumbered.
        by_id: object array [vocabulary_size] of str, no two alike; None where an id has no key.
    """

    spelling: str
    by_id: NDArray[np.object_]

    @cached_property
    def sha256(self) -> str:
        """Hash of the whole table: two tables with the same hash spell every token alike."""
        return hashlib.sha256(json.dumps(self.by_id.tolist()).encode()).hexdigest()

    @cached_property
    def ids(self) -> dict[str, int]:
        """The way back, `{key: id}`."""
        return {key: i for i, key in enumerate(self.by_id.tolist()) if key is not None}

    @cached_property
    def known(self) -> NDArray[np.bool_]:
        """bool [vocabulary_size], which ids have a key."""
        return np.array([key is not None for key in self.by_id.tolist()], np.bool_)

    def spell(self, vector: SparseVector) -> list[str | None]:
        """The key of each entry, None where it has none.

        Raises:
            InputError: the vector is of another vocabulary.
        """
        if len(vector) and int(vector.indices.max()) >= len(self.by_id):
            raise InputError(
                f"the vector has token id {int(vector.indices.max())}, and these keys are of a vocabulary of "
                f"{len(self.by_id)}; take the keys of the bundle that made it"
            )
        spelled: list[str | None] = self.by_id[vector.indices].tolist()
        return spelled


@dataclass(frozen=True)
class Loss:
    """What has no key and is dropped.

    Attributes:
        entries: how many entries were dropped.
        weight: the sum of their weights.
        total: the sum of all weights, those that are kept too.
    """

    entries: int = 0
    weight: float = 0.0
    total: float = 0.0

    @property
    def share(self) -> float:
        """The share of the weight that is lost, 0 to 1."""
        return self.weight / self.total if self.total else 0.0

    def __add__(self, other: Loss) -> Loss:
        return Loss(self.entries + other.entries, self.weight + other.weight, self.total + other.total)


def loss_of(keys: Keys, vectors: SparseVectors | SparseVector) -> Loss:
    """What of these vectors has no key."""
    lost = ~keys.known[vectors.indices]
    return Loss(int(lost.sum()), float(vectors.values[lost].sum()), float(vectors.values.sum()))


def keys_of(bundle: Bundle, spelling: Spelling = "tokens") -> Keys:
    """The keys of a bundle's vocabulary.

    "tokens" are readable in the index and are what OpenSearch's own models write; "ids" are the token ids in decimal
    digits, which is all that a sparse_vector field takes. Tokens stay as they are, whatever their case and
    normalization, for OpenSearch compares bytes; see `token_keys` for the few that cannot.

    Raises:
        InputError: another spelling.
    """
    if spelling not in get_args(Spelling):
        raise InputError(f"spelling is {spelling!r}; choose one of {', '.join(get_args(Spelling))}")
    size = bundle.manifest.vocabulary_size
    if spelling == "ids":
        return Keys("ids", _table(map(str, range(size))))
    tokens = TextTokenizer(bundle.tokenizer_json(), bundle.manifest).tokens
    return Keys("tokens", _table(token_keys(tokens.tolist())))


def token_keys(tokens: Sequence[str]) -> list[str]:
    """A key for each token of a vocabulary, by id; `tokens` has no two alike.

    What rank_features cannot hold under its own name is spelled by its id, "#123": an empty token, one that is too
    long, one with a dot (a path to the bool query, and refused by many versions at ingest), and a NUL character.
    """
    taken = set(tokens)
    keys = []
    for i, token in enumerate(tokens):
        key = token
        if not token or "." in token or "\0" in token or len(token.encode()) > MAX_KEY_BYTES:
            key = f"#{i}"
            while key in taken:
                key = f"#{key}"
            taken.add(key)
        keys.append(key)
    return keys


def _table(keys: Iterable[str]) -> NDArray[np.object_]:
    return np.array(list(keys), dtype=object)
