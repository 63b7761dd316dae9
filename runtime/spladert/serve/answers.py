"""Vectors as bodies of answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import safetensors.numpy
from starlette.responses import Response

from ..encoder import SparseEncoder
from ..opensearch.entries import document_tokens, query_tokens
from ..opensearch.keys import Keys
from ..tokenizer import Side
from ..vectors import SparseVectors

if TYPE_CHECKING:
    pass


def json_answer(content: Any, headers: Mapping[str, str] | None = None) -> Response:
    """Numpy arrays and scalars are numbers in it; float32 have the fewest digits that give them back bit by bit."""
    body = orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS)
    return Response(body, headers=headers and dict(headers), media_type="application/json")


def embed_sparse_body(vectors: SparseVectors) -> list[list[dict[str, Any]]]:
    """text-embeddings-inference's shape: by rising index, as it goes through the vocabulary."""
    answers = []
    for vector in vectors:
        order = np.argsort(vector.indices)
        pairs = zip(vector.indices[order].tolist(), list(vector.values[order]), strict=True)
        answers.append([{"index": index, "value": value} for index, value in pairs])
    return answers


def arrays_body(vectors: SparseVectors) -> list[dict[str, Any]]:
    return [{"indices": vector.indices, "values": vector.values} for vector in vectors]


def ids_body(vectors: SparseVectors) -> list[dict[int, Any]]:
    return [dict(zip(vector.indices.tolist(), list(vector.values), strict=True)) for vector in vectors]


def tokens_body(vectors: SparseVectors, encoder: SparseEncoder) -> list[dict[str, Any]]:
    tokens = encoder.tokens
    return [dict(zip(tokens[vector.indices].tolist(), list(vector.values), strict=True)) for vector in vectors]


def opensearch_answer(vectors: SparseVectors, keys: Keys, side: Side, headers: Mapping[str, str]) -> Response:
    """As `spladert encode` writes documents to an index, and as its searches spell queries.

    In ASCII: OpenSearch decodes an answer piece by piece as it arrives (seen in 3.6), and would tear a longer character
    at the end of a piece apart.
    """
    entries = query_tokens if side == "query" else document_tokens
    body = json.dumps([entries(vector, keys) for vector in vectors], ensure_ascii=True, separators=(",", ":"))
    return Response(body, headers=dict(headers), media_type="application/json")


def safetensors_answer(vectors: SparseVectors, headers: Mapping[str, str]) -> Response:
    """The compressed sparse rows in one file of the safetensors format."""
    arrays: dict[str, np.ndarray[Any, Any]] = {
        "indptr": vectors.indptr,
        "indices": vectors.indices,
        "values": vectors.values,
    }
    return Response(safetensors.numpy.save(arrays), headers=dict(headers), media_type="application/octet-stream")
