"""POST /v1/encode: the library's vectors in every form."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from pathlib import Path

import httpx
import numpy as np
import pytest
import safetensors.numpy

from spladert import SparseEncoder
from spladert.bundle import BundleFile, Manifest
from support.checkpoints import LINES
from support.server import running


def test_arrays(client: httpx.Client, encoder: SparseEncoder) -> None:
    answer = client.post("/v1/encode", json={"inputs": LINES})
    assert answer.status_code == 200
    for got, vector in zip(answer.json(), encoder.encode(LINES), strict=True):
        assert got["indices"] == vector.indices.tolist()
        assert np.array_equal(np.array(got["values"], np.float32), vector.values)


def test_ids_and_tokens(client: httpx.Client, encoder: SparseEncoder) -> None:
    vector = encoder.encode(LINES[0])
    [ids] = client.post("/v1/encode", json={"inputs": LINES[0], "output": "ids"}).json()
    [tokens] = client.post("/v1/encode", json={"inputs": [LINES[0]], "output": "tokens"}).json()
    assert [int(key) for key in ids] == vector.indices.tolist()
    assert list(tokens) == list(encoder.to_tokens(vector))
    for got in (ids, tokens):
        assert np.array_equal(np.array(list(got.values()), np.float32), vector.values)


def test_safetensors(client: httpx.Client, encoder: SparseEncoder) -> None:
    answer = client.post("/v1/encode", json={"inputs": LINES, "output": "safetensors", "top_k": 7})
    arrays = safetensors.numpy.load(answer.content)
    vectors = encoder.encode(LINES, top_k=7)
    for name in ("indptr", "indices", "values"):
        assert arrays[name].dtype == getattr(vectors, name).dtype
        assert np.array_equal(arrays[name], getattr(vectors, name))


def test_top_k_and_max_length(client: httpx.Client, encoder: SparseEncoder) -> None:
    answer = client.post("/v1/encode", json={"inputs": LINES, "top_k": 3, "max_length": 5})
    assert [got["indices"] for got in answer.json()] == [
        vector.indices.tolist() for vector in encoder.encode(LINES, top_k=3, max_length=5)
    ]
    assert int(answer.headers["x-truncated"]) == encoder.encode(LINES, max_length=5).truncated > 0
    timing = answer.headers["server-timing"]
    assert [part.split(";")[0] for part in timing.split(", ")] == ["tokenize", "queue", "inference", "total"]
    assert int(answer.headers["x-batch-texts"]) >= 1


@pytest.mark.parametrize(
    ("body", "part"),
    [
        ({"inputs": "a", "top_k": 0}, "`top_k`"),
        ({"inputs": "a", "top_k": 10**6}, "this bundle gives 1 to"),
        ({"inputs": "a", "max_length": 2}, "this bundle takes"),
        ({"inputs": "a", "output": "yaml"}, "`output`"),
        ({"inputs": "a", "side": "both"}, "`side`"),
        ({"inputs": "a", "topk": 3}, "`topk`"),
    ],
)
def test_bad_requests_name_what_is_wrong(client: httpx.Client, body: dict[str, object], part: str) -> None:
    answer = client.post("/v1/encode", json=body)
    assert answer.status_code == 422
    assert part in answer.json()["error"]


def test_an_empty_text_has_a_vector(client: httpx.Client, encoder: SparseEncoder) -> None:
    answer = client.post("/v1/encode", json={"inputs": ["", "계약서"]}).json()
    assert [got["indices"] for got in answer] == [vector.indices.tolist() for vector in encoder.encode(["", "계약서"])]


def test_queries_and_documents_are_told_apart(tiny_bundle: Path, tmp_path: Path) -> None:
    """By a table, queries need no model; by prompts, documents are other texts."""
    folder = shutil.copytree(tiny_bundle, tmp_path / "sides")
    manifest = Manifest.from_json((folder / "spladert.json").read_text(encoding="utf-8"))
    table = np.random.default_rng(0).random(manifest.vocabulary_size, np.float32)
    np.save(folder / "query_table.npy", table)
    raw = json.loads((folder / "spladert.json").read_text(encoding="utf-8"))
    path = folder / "query_table.npy"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    raw |= {
        "schema_version": 2,
        "requires": ["prompts", "query-table"],
        "prompts": {"document": "문서: "},
        "query_table": dataclasses.asdict(BundleFile(path.name, path.stat().st_size, digest)),
    }
    (folder / "spladert.json").write_text(json.dumps(raw), encoding="utf-8")
    with SparseEncoder.load(folder, threads=1) as encoder, running(encoder) as client:
        for side, encode in (("query", encoder.encode_query), ("document", encoder.encode_document)):
            answers = client.post("/v1/encode", json={"inputs": LINES, "side": side})
            assert [got["indices"] for got in answers.json()] == [v.indices.tolist() for v in encode(LINES)]
            [answer] = client.post("/embed_sparse", json={"inputs": LINES[0], "prompt_name": side}).json()
            assert {entry["index"] for entry in answer} == set(encode(LINES[0]).indices.tolist())
        for more in ({}, {"truncate": True, "truncation_direction": "Left"}, {"truncate": False}):
            body = {"inputs": LINES[0], "prompt_name": "query", **more}
            [answer] = client.post("/embed_sparse", json=body).json()
            assert {entry["index"] for entry in answer} == set(encoder.encode_query(LINES[0]).indices.tolist())
        assert client.post("/v1/encode", json={"inputs": "a", "side": "query"}).headers["x-batch-texts"] == "0"
        assert client.get("/info").json()["queries_without_model"] is True
        [tokens] = client.post("/tokenize", json={"inputs": "계약서", "prompt_name": "document"}).json()
        assert tokens[1]["start"] == 0
        assert len(tokens) > len(client.post("/tokenize", json={"inputs": "계약서"}).json()[0])


def test_openapi_describes_every_endpoint(client: httpx.Client) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert set(paths) == {
        "/embed_sparse",
        "/tokenize",
        "/decode",
        "/info",
        "/v1/encode",
        "/health",
        "/health/live",
        "/health/ready",
        "/metrics",
    }
    assert {"413", "422", "424", "429"} <= set(paths["/embed_sparse"]["post"]["responses"])
