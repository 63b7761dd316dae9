"""The weights that queries are looked up in where a checkpoint encodes them without a model.

They are those of sentence-transformers' `SparseStaticEmbedding`, or an idf.json of {token: weight} as OpenSearch's
models have it (Geng et al. 2024, arXiv:2411.04403).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file
from transformers import AutoTokenizer

from spladert import ExportError

from .files import CheckpointFiles

IDF = "idf.json"
PARTS = ("normalizer", "pre_tokenizer", "model", "added_tokens")  # of a tokenizer, without what it puts around a text


@dataclass(frozen=True)
class QueryTable:
    """Where the weights are.

    Attributes:
        file: of {token: weight}, or of a tensor `weight` by token id.
        tokenizer: the folder of the tokenizer that queries are cut by; None is the documents' own.
    """

    file: str
    tokenizer: str | None = None


def read_query_weights(files: CheckpointFiles, table: QueryTable, tokenizer: Any, rows: int) -> NDArray[np.float32]:
    """Weights by token id, float32 [rows].

    Args:
        files: the checkpoint.
        table: where its weights are.
        tokenizer: the documents'.
        rows: the vocabulary's.

    Raises:
        ExportError: the weights are missing, damaged, negative or not finite, or of another tokenizer.
    """
    if table.tokenizer is not None:
        _refuse_other_tokenizer(files, table.tokenizer, tokenizer)
    found = (
        _from_json(files, table.file, tokenizer) if table.file.endswith(".json") else _from_tensor(files, table.file)
    )
    if found.ndim != 1 or len(found) > rows:
        shape = "x".join(map(str, found.shape))
        raise ExportError(f"{files.source}: {table.file} has {shape} weights, and the vocabulary {rows} rows")
    if not np.isfinite(found).all() or (found < 0).any():
        raise ExportError(
            f"{files.source}: {table.file} has weights that are negative or not finite, which no index takes"
        )
    weights = np.zeros(rows, np.float32)
    weights[: len(found)] = found
    return weights


def _from_json(files: CheckpointFiles, name: str, tokenizer: Any) -> NDArray[np.float32]:
    weights = files.settings(name)
    if not weights or not all(isinstance(weight, int | float) for weight in weights.values()):
        raise ExportError(f"{files.source}: {name} is missing, or no object of a weight a token")
    vocabulary = tokenizer.get_vocab()
    strangers = [token for token in weights if token not in vocabulary]
    if strangers:
        raise ExportError(
            f"{files.source}: {name} weighs {len(strangers)} tokens that the tokenizer does not have, {strangers[0]!r} "
            "for one; they do not belong together"
        )
    found = np.zeros(max(vocabulary.values()) + 1, np.float32)
    for token, weight in weights.items():
        found[vocabulary[token]] = weight
    return found


def _from_tensor(files: CheckpointFiles, name: str) -> NDArray[np.float32]:
    path = files.path(name)
    try:
        tensors = {} if path is None else load_file(path)
    except Exception as error:  # safetensors raises its own bare class
        raise ExportError(f"{files.source}: {name} is damaged ({error})") from None
    if set(tensors) != {"weight"}:
        raise ExportError(f"{files.source} has no query weights in {name}; save the model again, as safetensors")
    return np.asarray(tensors["weight"], np.float32)


def _refuse_other_tokenizer(files: CheckpointFiles, folder: str, tokenizer: Any) -> None:
    where = {"revision": files.revision, "subfolder": folder, "trust_remote_code": False}
    try:
        other = AutoTokenizer.from_pretrained(files.source, **where)
    except Exception as error:
        raise ExportError(f"{files.source}: {folder} has no tokenizer that loads: {error}") from error
    ours, theirs = (json.loads(one.backend_tokenizer.to_str()) for one in (tokenizer, other))
    if [ours[part] for part in PARTS] != [theirs[part] for part in PARTS]:
        raise ExportError(
            f"{files.source} cuts queries into tokens by another tokenizer ({folder}) than documents, which is not "
            "supported"
        )
