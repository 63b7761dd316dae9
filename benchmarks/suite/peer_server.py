"""A peer behind FastAPI, as one writes it: `POST /embed_sparse` as `spladert serve` has it, in a few lines.

    python -m benchmarks.suite.peer_server prepare CHECKPOINT WORK
    python -m benchmarks.suite.peer_server sentence-transformers CHECKPOINT WORK

The second serves on a free port of loopback. It runs in the environment of the peers.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

from benchmarks.suite.engine import Inputs
from benchmarks.suite.onnx_engines import prepare_optimum
from benchmarks.suite.torch_engines import (
    prepare_sentence_transformers_int8,
    sentence_transformers,
    sentence_transformers_int8,
)

Rows = list[list[dict[str, Any]]]
LENGTH, TOP_K = 64, 256
FASTEMBED_NAME = "prithivida/Splade_PP_en_v1"  # the entry of fastembed's list whose format ours is in


def prepare(inputs: Inputs) -> None:
    """sentence-transformers' int8 graph, and optimum's export as a folder of fastembed: a graph that gives logits."""
    prepare_sentence_transformers_int8(inputs, [])
    prepare_optimum(inputs, [])
    folder = _fastembed_folder(inputs)
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        shutil.copyfile(inputs.work / "sentence-transformers" / name, folder / name)
    shutil.copyfile(inputs.work / "optimum" / "model.onnx", folder / "model.onnx")  # last: it says that all are there


def _fastembed_folder(inputs: Inputs) -> Path:
    return inputs.work / "fastembed"


def _of_sentence_transformers(load: Callable[[Inputs], Callable[[Sequence[str]], Any]]) -> Callable[[Inputs], Any]:
    def loaded(inputs: Inputs) -> Callable[[list[str]], Rows]:
        encode = load(inputs)

        def embed(texts: list[str]) -> Rows:
            rows: Rows = [[] for _ in texts]
            found = encode(texts).coalesce()
            for row, index, value in zip(*found.indices().tolist(), found.values().tolist(), strict=True):
                rows[row].append({"index": index, "value": value})
            return rows

        return embed

    return loaded


def _fastembed(inputs: Inputs) -> Callable[[list[str]], Rows]:
    from fastembed import SparseTextEmbedding

    folder = str(_fastembed_folder(inputs))
    model = SparseTextEmbedding(FASTEMBED_NAME, specific_model_path=folder, threads=inputs.threads)

    def embed(texts: list[str]) -> Rows:
        found = model.embed(texts, batch_size=32)
        return [
            [{"index": index, "value": value} for index, value in zip(*map(list, vector), strict=True)]
            for vector in ((each.indices.tolist(), each.values.tolist()) for each in found)
        ]

    return embed


PEERS: dict[str, Callable[[Inputs], Callable[[list[str]], Rows]]] = {
    "sentence-transformers": _of_sentence_transformers(sentence_transformers),
    "sentence-transformers-int8": _of_sentence_transformers(sentence_transformers_int8),
    "fastembed": _fastembed,
}


class Request(BaseModel):
    inputs: str | list[str]


def serve(embed: Callable[[list[str]], Rows]) -> None:
    app = FastAPI()
    one_at_a_time = Lock()  # on one core, more at once only wait for each other

    @app.post("/embed_sparse")
    def embed_sparse(request: Request) -> Rows:
        with one_at_a_time:
            return embed([request.inputs] if isinstance(request.inputs, str) else request.inputs)

    uvicorn.run(app, port=0, access_log=False)


def main() -> None:
    what, checkpoint, work = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    inputs = Inputs(checkpoint, checkpoint, work, threads=1, max_length=LENGTH, top_k=TOP_K)
    if what == "prepare":
        prepare(inputs)
    else:
        serve(PEERS[what](inputs))


if __name__ == "__main__":
    main()
