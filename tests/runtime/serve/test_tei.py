"""What talks to text-embeddings-inference talks to this: its documented requests, answers and errors (its 1.9.3)."""

from __future__ import annotations

from typing import Any

import httpx
import numpy as np
import pytest

from spladert import SparseEncoder
from spladert.serve import ServerOptions
from support.server import running

TEXT = "당뇨병 치료 방법을 알려 주세요"
LONG = "인공지능 기술은 빠르게 발전하고 있다 " * 40


def pairs(answer: list[dict[str, Any]]) -> dict[int, np.float32]:
    return {entry["index"]: np.float32(entry["value"]) for entry in answer}


def expected(encoder: SparseEncoder, text: str) -> dict[int, np.float32]:
    vector = encoder.encode(text)
    return dict(zip(vector.indices.tolist(), vector.values, strict=True))


def error_of(response: httpx.Response, status: int, error_type: str) -> str:
    body = response.json()
    assert response.status_code == status, body
    assert set(body) == {"error", "error_type"}
    assert body["error_type"] == error_type
    message: str = body["error"]
    return message


def test_the_readme_s_request(client: httpx.Client, encoder: SparseEncoder) -> None:
    answer = client.post("/embed_sparse", json={"inputs": "I like you."})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    [vector] = answer.json()
    assert pairs(vector) == expected(encoder, "I like you.")
    indices = [entry["index"] for entry in vector]
    assert indices == sorted(indices), "text-embeddings-inference goes through the vocabulary in order"
    for name in ("x-compute-tokens", "x-total-time", "x-tokenization-time", "x-queue-time", "x-inference-time"):
        assert answer.headers[name].isdecimal()


def test_many_inputs_and_ids(client: httpx.Client, encoder: SparseEncoder) -> None:
    [ids] = encoder.tokenize_batch([TEXT]).input_ids
    one, many = (
        client.post("/embed_sparse", json={"inputs": ids}).json(),
        client.post("/embed_sparse", json={"inputs": ["계약서", ids, TEXT]}).json(),
    )
    assert len(one) == 1
    assert len(many) == 3
    assert one[0] == many[1] == many[2]
    assert pairs(many[0]) == expected(encoder, "계약서")


def test_truncation(client: httpx.Client, encoder: SparseEncoder) -> None:
    longest = encoder.manifest.max_length
    right = client.post("/embed_sparse", json={"inputs": LONG, "truncate": True}).json()
    assert pairs(right[0]) == expected(encoder, LONG)
    left = client.post("/embed_sparse", json={"inputs": LONG, "truncate": True, "truncation_direction": "Left"})
    [whole] = client.post("/tokenize", json={"inputs": LONG}).json()
    ids = [token["id"] for token in whole]
    kept = [ids[0], *ids[-longest + 1 :]]  # the special tokens around the text stay
    assert left.json() == client.post("/embed_sparse", json={"inputs": kept}).json() != right
    refused = client.post("/embed_sparse", json={"inputs": LONG, "truncate": False})
    assert f"must have less than {longest} tokens. Given: {len(ids)}" in error_of(refused, 422, "Validation")
    assert client.post("/embed_sparse", json={"inputs": LONG}).json() == right, "auto_truncate is the default"
    for direction in ("left", "right", "Right"):
        body = {"inputs": "a", "truncate": None, "truncation_direction": direction, "prompt_name": None}
        assert client.post("/embed_sparse", json=body).status_code == 200


@pytest.mark.parametrize("inputs", ["", [], [""], ["a", ""], [[]]])
def test_empty(client: httpx.Client, inputs: object) -> None:
    message = error_of(client.post("/embed_sparse", json={"inputs": inputs}), 400, "Empty")
    assert message == "`inputs` cannot be empty"


def test_batch_size(encoder: SparseEncoder) -> None:
    with running(encoder, ServerOptions(max_client_batch_size=4)) as client:
        for path, body in (
            ("/embed_sparse", {"inputs": ["a"] * 5}),
            ("/tokenize", {"inputs": ["a"] * 5}),
            ("/decode", {"ids": [[5]] * 5}),
            ("/v1/encode", {"inputs": ["a"] * 5}),
        ):
            message = error_of(client.post(path, json=body), 413, "Validation")
            assert message == "batch size 5 > maximum allowed batch size 4"
        assert client.post("/embed_sparse", json={"inputs": ["a"] * 4}).status_code == 200
        assert client.get("/info").json()["max_client_batch_size"] == 4


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"inputs": 5},
        {"inputs": None},
        {"inputs": {"a": 1}},
        {"inputs": [1.5]},
        {"inputs": [-1]},
        {"inputs": [True]},
        {"inputs": "a", "truncate": "yes"},
        {"inputs": "a", "truncation_direction": "up"},
        {"inputs": "a", "prompt_name": "absent"},
        {"inputs": "a", "prompt_name": 3},
        ["a"],
        "a",
    ],
)
def test_what_does_not_fit_the_schema(client: httpx.Client, body: object) -> None:
    message = error_of(client.post("/embed_sparse", json=body), 422, "Validation")
    assert "inputs.str" not in message


def test_an_id_beyond_the_vocabulary(client: httpx.Client, encoder: SparseEncoder) -> None:
    size = encoder.manifest.vocabulary_size
    message = error_of(client.post("/embed_sparse", json={"inputs": [[size]]}), 422, "Tokenizer")
    assert str(size) in message
    error_of(client.post("/decode", json={"ids": [size]}), 422, "Tokenizer")


@pytest.mark.parametrize("path", ["/embed_sparse", "/tokenize", "/v1/encode"])
def test_a_lone_surrogate(client: httpx.Client, path: str) -> None:
    body = rb'{"inputs": ["a", "\ud800"]}'
    answer = client.post(path, content=body, headers={"Content-Type": "application/json"})
    error_of(answer, 422, "Tokenizer")


def test_not_json(client: httpx.Client) -> None:
    for body in (b"{bad", b"", b"\xff\xfe", b"[" * 100_000):
        answer = client.post("/embed_sparse", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code in (400, 422), body[:10]
        assert set(answer.json()) == {"error", "error_type"}


def test_tokenize_and_decode(client: httpx.Client, encoder: SparseEncoder) -> None:
    [tokens] = client.post("/tokenize", json={"inputs": TEXT}).json()
    assert [token["id"] for token in tokens] == encoder.tokenize_batch([TEXT]).input_ids[0]
    assert tokens[0] == {"id": 2, "text": "[CLS]", "special": True, "start": None, "stop": None}
    for token in tokens[1:-1]:
        assert not token["special"]
        assert TEXT.encode()[token["start"] : token["stop"]].decode() == token["text"]
    [bare] = client.post("/tokenize", json={"inputs": [TEXT], "add_special_tokens": False}).json()
    assert bare == tokens[1:-1]
    ids = [token["id"] for token in tokens]
    assert client.post("/decode", json={"ids": ids}).json() == client.post("/decode", json={"ids": [ids]}).json()
    [kept] = client.post("/decode", json={"ids": ids, "skip_special_tokens": False}).json()
    assert kept.startswith("[CLS]")
    for body in ({"ids": []}, {"ids": [[]]}):
        error_of(client.post("/decode", json=body), 400, "Empty")


def test_info_has_every_field_of_its_schema(client: httpx.Client, encoder: SparseEncoder) -> None:
    info = client.get("/info").json()
    required = {
        "model_id",
        "model_dtype",
        "served_model_name",
        "model_type",
        "max_concurrent_requests",
        "max_input_length",
        "max_batch_tokens",
        "max_client_batch_size",
        "auto_truncate",
        "tokenization_workers",
        "version",
    }
    assert required <= set(info)
    assert info["model_type"] == {"embedding": {"pooling": "splade"}}
    assert info["max_input_length"] == encoder.manifest.max_length
    assert info["model_id"] == encoder.manifest.source.id


def test_health(client: httpx.Client) -> None:
    for path in ("/health", "/health/live", "/health/ready"):
        answer = client.get(path)
        assert (answer.status_code, answer.content) == (200, b"")


def test_no_such_path(client: httpx.Client) -> None:
    assert client.get("/absent").status_code == 404
    assert client.get("/embed_sparse").status_code == 405


@pytest.mark.parametrize("wrong", [5, None, [-1], [True], ["a", 5], [["a", "b"]]])
def test_inputs_of_another_type_are_told_what_they_may_be(client: httpx.Client, wrong: Any) -> None:
    message = error_of(client.post("/embed_sparse", json={"inputs": wrong}), 422, "Validation")
    assert message == "`inputs` takes a string or token ids (integers of 0 or more), or a list of such"
    message = error_of(client.post("/v1/encode", json={"inputs": wrong}), 422, "Validation")
    assert message == "`inputs` takes a string, or a list of such"


def test_a_body_without_its_type_is_told_of_the_header(client: httpx.Client) -> None:
    answer = client.post("/v1/encode", content='{"inputs": "a"}')
    assert "with the header `Content-Type: application/json`" in error_of(answer, 422, "Validation")
