"""The model inside OpenSearch: the zip, and what a real node with the ML plugin makes of it."""

from __future__ import annotations

import hashlib
import json
import os
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from click.testing import CliRunner
from opensearchpy.exceptions import TransportError

from benchmarks.suite.opensearch_node import client_of, running_node
from spladert import SparseEncoder
from spladert.bundle import open_bundle
from spladert.cli import main
from spladert.engine import RuntimeOptions
from spladert.errors import SpladertError
from spladert.opensearch import document_tokens, index_body, keys_of, query_body
from spladert.opensearch.ml import ask_model, deploy_model, ingest_pipeline, register_model
from spladert.opensearch.ml_package import CLOSE, distance

pytest.importorskip("torch", reason="needs the export extra: pip install 'spladert[export]'")
import onnx
import onnxruntime

from spladert_export.package.opensearch_ml import MlPackage, package_for_opensearch

# Seconds after its start in which a node looks, once, which models are to be deployed again; its own index has to have
# recovered by then, which takes a busy machine longer than the 10 that are the default.
LOOK = 30
# The graph in the zip is compared with the same graph outside: the compiled engine of cpu-int8 rounds in its own way.
ONNX = RuntimeOptions(threads=1, spin=False, isa="onnx")
TEXTS = ["당뇨병 치료", "오늘 서울의 날씨는 맑다. " * 20, "3.14는 원주율이다.", "A tree", "?"]


@pytest.fixture(scope="module")
def encoder() -> Iterator[SparseEncoder]:
    """The model that comes with spladert, on ONNX Runtime."""
    with SparseEncoder.from_bundle(open_bundle(), options=ONNX) as loaded:
        yield loaded


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> MlPackage:
    """The model that comes with spladert, int8."""
    return package_for_opensearch(open_bundle(), tmp_path_factory.mktemp("package") / "model.zip")


def unpacked(path: Path, folder: Path) -> tuple[Path, Path]:
    """(graph, tokenizer) of a zip that has nothing else."""
    with zipfile.ZipFile(path) as archive:
        graph, tokenizer = sorted(archive.namelist(), key=lambda name: name == "tokenizer.json")
        assert archive.namelist() == ["tokenizer.json", graph]
        archive.extractall(folder)
    return folder / graph, folder / tokenizer


def dense(vectors: Any) -> np.ndarray:
    rows: np.ndarray = vectors.to_scipy().toarray()
    return rows


@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_the_graph_is_old_dense_and_gives_the_bundles_vectors(
    package: MlPackage, tiny_bundle: Path, tmp_path: Path, precision: str
) -> None:
    bundle = open_bundle(None if precision == "int8" else tiny_bundle)
    if precision == "fp32":
        package = package_for_opensearch(bundle, tmp_path / "fp32.zip")
    assert package.variant == f"cpu-{precision}"
    graph, tokenizer = unpacked(package.path, tmp_path / "zip")
    model = onnx.load(graph)
    assert model.ir_version <= 9
    assert {entry.domain: entry.version for entry in model.opset_import}[""] <= 19
    assert not any(tensor.external_data for tensor in model.graph.initializer)
    assert [value.name for value in model.graph.input] == ["input1.input_ids", "input1.attention_mask"]
    limits = json.loads(tokenizer.read_text(encoding="utf-8"))["truncation"]
    assert limits["max_length"] == bundle.manifest.max_length
    session = onnxruntime.InferenceSession(graph)
    with SparseEncoder.from_bundle(bundle, options=ONNX) as encoder:
        expected = dense(encoder.encode(TEXTS))
        ids = encoder.tokenize_batch(TEXTS).input_ids
    width = max(map(len, ids))
    feed = {
        "input1.input_ids": np.array([row + [0] * (width - len(row)) for row in ids]),
        "input1.attention_mask": np.array([[1] * len(row) + [0] * (width - len(row)) for row in ids]),
    }
    (weights,) = session.run(None, feed)
    assert weights.dtype == np.float32
    np.testing.assert_allclose(weights, expected, atol=1e-5)
    assert ((weights > 0).sum(axis=1) <= bundle.manifest.top_k).all()


def test_the_registration_is_of_the_zip_and_the_zip_of_the_bundle(package: MlPackage, tmp_path: Path) -> None:
    content = package.path.read_bytes()
    written = json.loads(package.path.with_name("model.zip.json").read_text(encoding="utf-8"))
    assert written == package.registration
    assert written["model_content_size_in_bytes"] == len(content)
    assert written["model_content_hash_value"] == hashlib.sha256(content).hexdigest()
    assert written["total_chunks"] == -(-len(content) // 10_000_000)
    again = package_for_opensearch(open_bundle(), tmp_path / "again.zip", name="mine")
    assert again.path.read_bytes() == content
    assert again.registration["name"] == "mine"


def test_a_variant_that_the_plugin_cannot_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpladertError, match=r"the bundle has cpu-int8, not fp32; export one"):
        package_for_opensearch(open_bundle(), tmp_path / "a.zip", variant="fp32")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def model_id(client: Any, package: MlPackage) -> Iterator[str]:
    """The model in the node, deployed."""
    plugins = client.cat.plugins(format="json")
    if not any(plugin["component"] == "opensearch-ml" for plugin in plugins):
        pytest.skip("the node has no ML plugin")
    registered = register_model(client, package.path, package.registration)
    deploy_model(client, registered)
    yield registered
    remove_model(client, registered)


def remove_model(client: Any, model_id: str) -> None:
    client.transport.perform_request("POST", f"/_plugins/_ml/models/{model_id}/_undeploy")
    client.transport.perform_request("DELETE", f"/_plugins/_ml/models/{model_id}")


def model_state(client: Any, model_id: str) -> str:
    return str(client.transport.perform_request("GET", f"/_plugins/_ml/models/{model_id}")["model_state"])


def assert_same(answers: list[dict[str, float]], encoder: SparseEncoder, texts: list[str]) -> None:
    for answer, vector in zip(answers, encoder.encode_document(texts), strict=True):
        assert distance(answer, encoder.to_tokens(vector)) < CLOSE


def test_the_model_inside_answers_as_the_bundle(client: Any, model_id: str, encoder: SparseEncoder) -> None:
    assert_same(ask_model(client, model_id, TEXTS), encoder, TEXTS)


def test_fp32_inside_answers_as_the_bundle(client: Any, model_id: str, tiny_bundle: Path, tmp_path: Path) -> None:
    bundle = open_bundle(tiny_bundle)
    made = package_for_opensearch(bundle, tmp_path / "fp32.zip", name=f"fp32-{uuid4().hex[:8]}")
    assert made.variant == "cpu-fp32"
    registered = register_model(client, made.path, made.registration)
    deploy_model(client, registered)
    with SparseEncoder.from_bundle(bundle, options=ONNX) as tiny:
        for answer, vector in zip(ask_model(client, registered, TEXTS), tiny.encode_document(TEXTS), strict=True):
            own = {token: weight for token, weight in tiny.to_tokens(vector).items() if not token.startswith("[")}
            assert answer == pytest.approx(own, abs=1e-4), "but for [MASK] and its like, which the plugin leaves out"
    remove_model(client, registered)


def test_documents_and_questions_by_the_model_inside_rank_as_the_bundles_own(
    client: Any, index: str, model_id: str, encoder: SparseEncoder, shared: Path
) -> None:
    folder = shared / "data" / "tydi_retrieval"
    lines = (folder / "corpus.jsonl").read_text(encoding="utf-8").splitlines()[:60]
    texts = {each["_id"]: each["text"] for each in map(json.loads, lines)}
    questions = (folder / "queries.jsonl").read_text(encoding="utf-8").splitlines()[:20]
    inside, outside = f"{index}-inside", f"{index}-outside"
    keys = keys_of(encoder.bundle)
    client.ingest.put_pipeline(id=index, body=ingest_pipeline(model_id, "text", "sparse"))
    for name in (inside, outside):
        client.indices.create(index=name, body=index_body(encoder.bundle))
    for name, parameters in ((inside, {"pipeline": index}), (outside, {})):
        body = []
        for document_id, text in texts.items():
            document: dict[str, Any] = {"text": text}
            if name == outside:
                document["sparse"] = document_tokens(encoder.encode_document(text), keys)
            body += [{"index": {"_id": document_id}}, document]
        answer = client.bulk(
            body="\n".join(map(json.dumps, body)) + "\n", index=name, params={"refresh": "true", **parameters}
        )
        assert not answer["errors"], answer["items"][:2]
    same = 0
    for line in questions:
        question = json.loads(line)["text"]
        asked = {"query": {"neural_sparse": {"sparse": {"query_text": question, "model_id": model_id}}}, "size": 10}
        own = query_body(encoder.encode_query(question), keys=keys)
        rankings = []
        for name, query in ((inside, asked), (outside, own)):
            hits = client.search(index=name, body={**query, "_source": False})["hits"]["hits"]
            rankings.append([hit["_id"] for hit in hits if hit["_score"] > 0.2])  # below that, ties decide
        same += rankings[0] == rankings[1]
    client.ingest.delete_pipeline(id=index)
    assert same >= 19, "a rounding of the field may turn two neighbours once"


def test_the_command_registers_deploys_and_asks(client: Any, address: str, tmp_path: Path) -> None:
    arguments = ["package", "--target", "opensearch-ml", "--output", str(tmp_path / "model.zip"), "--name", "mine"]
    done = CliRunner().invoke(main, [*arguments, "--register", f"opensearch://{address}"])
    assert done.exit_code == 0, done.output
    assert "answers '당뇨병 치료' as the bundle does (당뇨병 2.0" in done.output
    registered = done.output.partition("model_id ")[2].partition(":")[0]
    found = client.transport.perform_request("GET", f"/_plugins/_ml/models/{registered}")
    assert (found["name"], found["model_state"]) == ("mine", "DEPLOYED")
    client.transport.perform_request("POST", f"/_plugins/_ml/models/{registered}/_undeploy")
    (tmp_path / "model.zip").unlink()
    again = CliRunner().invoke(main, [*arguments, "--register", f"opensearch://{address}"])
    assert f"model_id {registered}, which was there already: deployed" in again.output
    remove_model(client, registered)


@pytest.mark.skipif(
    os.environ.get("SPLADERT_OPENSEARCH") != "all",
    reason="starts a node twice and waits for it: set SPLADERT_OPENSEARCH=all",
)
def test_a_killed_node_has_it_deployed_again(launcher: Path, package: MlPackage, encoder: SparseEncoder) -> None:
    """By itself, with nobody deploying it: the plugin looks what was deployed."""
    with running_node(launcher, ["--pytorch", f"-Eplugins.ml_commons.sync_up_job_interval_in_seconds={LOOK}"]) as node:
        client = client_of(node.address)
        registered = register_model(client, package.path, package.registration)
        deploy_model(client, registered)
        assert_same(ask_model(client, registered, TEXTS[:1]), encoder, TEXTS[:1])
        while model_state(client, registered) != "DEPLOYED":  # written down a moment after it is so
            time.sleep(0.2)
        node.kill()
        node.start()
        client = client_of(node.address)
        answers = None
        end = time.monotonic() + LOOK + 120
        while answers is None:
            try:
                answers = ask_model(client, registered, TEXTS[:1])
            except TransportError:  # "not ready yet", or its index is still recovering
                assert time.monotonic() < end, node.log.read_text(encoding="utf-8")[-5000:]
                time.sleep(0.5)
        assert_same(answers, encoder, TEXTS[:1])
