"""Vocabularies beyond what a sparse_vector field survives: their ids are renumbered below 32,768.

OpenSearch up to 3.8 loses an index of sparse_vectors when one of its segments passes `approximate_threshold` and holds
an id of 32,768 or more. The numbers are given once, before the first document: to the tokens that fire most over a
sample of the documents, so that what stays without a number is rare. They lie as a document of their own beside the
index and never change; every ingester and every query reads them from there.
"""

from __future__ import annotations

import base64
import zlib
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from ..vectors import SparseVectors
from .index import MAX_NUMBER
from .keys import Keys

if TYPE_CHECKING:
    from numpy.typing import NDArray

NUMBERS = MAX_NUMBER + 1
_ID = "numbers"


def needs_numbers(vocabulary_size: int) -> bool:
    """Whether a vocabulary has ids that a sparse_vector field does not survive."""
    return vocabulary_size > NUMBERS


def number_tokens(sample: SparseVectors) -> NDArray[np.int32]:
    """The token id of each number, int32 [at most 32,768]: those that fire most in the sample first.

    Tokens that fire equally often, most of all those that never do, come in the order of their ids.

    Raises:
        InputError: the sample has no entries.
    """
    if not len(sample.indices):
        raise InputError("the sample of vectors has no entries; give vectors of some of the documents to come")
    fired = np.bincount(sample.indices, minlength=sample.vocabulary_size)
    return np.argsort(-fired, kind="stable")[:NUMBERS].astype(np.int32)


def numbered_keys(token_ids: NDArray[np.int32], vocabulary_size: int) -> Keys:
    """The keys under which numbers stand for tokens; tokens without a number have none.

    Args:
        token_ids: of `number_tokens`.
        vocabulary_size: number of ids.

    Raises:
        InputError: they are not such numbers of this vocabulary.
    """
    unique = len(np.unique(token_ids)) == len(token_ids) <= NUMBERS
    if not unique or (len(token_ids) and not 0 <= token_ids.min() <= token_ids.max() < vocabulary_size):
        raise InputError(f"these numbers are not of a vocabulary of {vocabulary_size}; take the model of the index")
    keys = np.full(vocabulary_size, None, dtype=object)
    keys[token_ids] = [str(number) for number in range(len(token_ids))]
    return Keys("numbers", keys)


def numbers_index(index: str) -> str:
    """Where the numbers of an index lie."""
    return f"{index}-numbers"


def settle_numbers(client: Any, index: str, sample: SparseVectors) -> Keys:
    """The numbers of an index that is about to be made: those that are there, else those of the sample, kept there.

    Of several who begin at once the first one's hold for all.

    Args:
        client: an opensearchpy.OpenSearch.
        index: the name of the index to be.
        sample: vectors of some of the documents to come.

    Raises:
        InputError: as `number_tokens` and `numbered_keys`.
        opensearchpy.OpenSearchException: the cluster refuses, or does not answer.
    """
    from opensearchpy.exceptions import ConflictError, RequestError

    where = numbers_index(index)
    try:
        settings = {"index": {"number_of_shards": 1, "auto_expand_replicas": "0-1"}}
        mappings = {"dynamic": False, "properties": {}}
        client.indices.create(index=where, body={"settings": settings, "mappings": mappings})
    except RequestError as error:
        if error.error != "resource_already_exists_exception":
            raise
    document = {"token_ids": _packed(number_tokens(sample)), "vocabulary_size": sample.vocabulary_size}
    with suppress(ConflictError):  # another one was first
        client.create(index=where, id=_ID, body=document)
    return read_numbers(client, index)


def read_numbers(client: Any, index: str) -> Keys:
    """The numbers of an index.

    Raises:
        InputError: they are not there, or damaged.
        opensearchpy.OpenSearchException: the cluster refuses, or does not answer.
    """
    from opensearchpy.exceptions import NotFoundError

    where = numbers_index(index)
    try:
        document = client.get(index=where, id=_ID)["_source"]
        token_ids = np.frombuffer(zlib.decompress(base64.b64decode(document["token_ids"])), "<i4")
        vocabulary_size = int(document["vocabulary_size"])
    except NotFoundError:
        raise InputError(
            f"the tokens of index {index!r} are numbered, and the numbers are gone (document {_ID!r} of index "
            f"{where!r}): put them back from a snapshot, or make the index again"
        ) from None
    except (KeyError, TypeError, ValueError, zlib.error) as error:
        raise InputError(
            f"document {_ID!r} of index {where!r} is damaged ({error!r}): put it back from a snapshot, "
            "or make the index again"
        ) from None
    return numbered_keys(token_ids.astype(np.int32), vocabulary_size)


def _packed(token_ids: NDArray[np.int32]) -> str:
    return base64.b64encode(zlib.compress(token_ids.astype("<i4").tobytes())).decode("ascii")
