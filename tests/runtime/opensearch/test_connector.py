"""OpenSearch's own processors over a server: on a real node, with the real command."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from click.testing import CliRunner

pytest.importorskip("fastapi", reason="needs the serve extra: pip install 'spladert[serve]'")

from benchmarks.suite.opensearch_node import free_port
from spladert import InputError, SparseEncoder
from spladert.cli import main
from spladert.opensearch import document_tokens, index_body, keys_of, query_body
from spladert.opensearch.connector import KEY, Remote, package_connector
from spladert.stores import Connection
from support.server import running, spawned

AWKWARD = [
    "quotes \" and ' and `",
    "back\\slash \\n \\u0041 \\",
    "lines\nand\r\ntabs\tand \u2028 separators",
    "${parameters.input} ${credential.key} {{mustache}} $1 %s",
    '{"inputs": ["nested"]}',
    "</script><b>&amp;",
    "당뇨병\u0000치료",
    "이모지 👩‍👩‍👧 ﷽ 한글",
    "점.이.있는.단어 v1.2.3",
    "[CLS] [SEP] [PAD]",
    "가" * 5000,
    "$\ue000 $$\ue000\ue000 $",
]


def package(*arguments: str) -> str:
    result = CliRunner().invoke(main, ["package", *arguments])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def bundle() -> str:
    with SparseEncoder.load(threads=1, spin=False) as encoder:
        return str(encoder.bundle.path)


@pytest.fixture(scope="module")
def texts(shared: Path) -> list[str]:
    lines = (shared / "data" / "sentences.txt").read_text(encoding="utf-8").splitlines()
    return [*AWKWARD, *lines[: 2000 - len(AWKWARD)]]


@pytest.fixture
def served(client: Any, address: str, bundle: str, tmp_path: Path) -> Iterator[tuple[str, int]]:
    """An index that encodes by itself, and the port that its server has to be on."""
    name = f"remote-{uuid4().hex[:8]}"
    port = free_port()
    with server_on(port):
        out = package(
            *(bundle, "--target", "opensearch-connector", "--output", str(tmp_path / "bodies"), "--name", name),
            *("--server", f"http://127.0.0.1:{port}", "--register", f"opensearch://{address}/{name}"),
        )
    assert f"created index {name}" in out
    yield name, port
    client.indices.delete(index=f"{name}*", ignore_unavailable=True)


def bulk(client: Any, index: str, texts: list[str], start: int = 0) -> Any:
    lines: list[dict[str, Any]] = []
    for i, text in enumerate(texts, start):
        lines += [{"index": {"_index": index, "_id": str(i)}}, {"text": text}]
    return client.bulk(body=lines, params={"refresh": "true"}, request_timeout=300)


def server_on(port: int) -> Any:
    return spawned("--port", str(port), "--threads", "1", "--no-spin")


def calls(url: str) -> float:
    import httpx

    prefix = 'spladert_request_seconds_count{path="/v1/encode",status="200"}'
    [line] = [line for line in httpx.get(f"{url}/metrics").text.splitlines() if line.startswith(prefix)]
    return float(line.split()[-1])


def ranking(found: Any) -> list[tuple[str, float]]:
    return [(hit["_id"], hit["_score"]) for hit in found["hits"]["hits"]]


def ties(hits: list[tuple[str, float]]) -> set[str]:
    """The hits that score like the last one, of which there may be more than were asked for."""
    return {where for where, score in hits if score == hits[-1][1]}


def test_a_cluster_encodes_by_itself_as_the_client_does(
    client: Any, served: tuple[str, int], encoder: SparseEncoder, texts: list[str], shared: Path
) -> None:
    index, port = served
    own = f"{index}-own"
    client.indices.create(index=own, body=index_body(encoder.bundle))
    keys = keys_of(encoder.bundle)
    started = time.perf_counter()
    lines: list[dict[str, Any]] = []
    for i, (text, vector) in enumerate(zip(texts, encoder.encode_document(texts), strict=True)):
        lines += [{"index": {"_index": own, "_id": str(i)}}, {"text": text, "sparse": document_tokens(vector, keys)}]
    assert not client.bulk(body=lines, params={"refresh": "true"}, request_timeout=300)["errors"]
    by_client = time.perf_counter() - started
    with server_on(port) as (_, url):
        started = time.perf_counter()
        done = bulk(client, index, texts)
        by_cluster = time.perf_counter() - started
        assert not done["errors"], [item for item in done["items"] if item["index"].get("error")][:2]
        assert calls(url) <= -(-len(texts) // 64), "a pipeline batch is a call"
        for i, vector in enumerate(encoder.encode_document(texts)):
            stored = client.get(index=index, id=str(i))["_source"]
            assert stored == {"text": texts[i], "sparse": document_tokens(vector, keys)}
        questions = (shared / "data" / "queries_short.txt").read_text(encoding="utf-8").splitlines()[:50]
        for question in [*questions, *AWKWARD]:
            asked = {"size": 10, "query": {"neural_sparse": {"sparse": {"query_text": question}}}}
            ours = query_body(encoder.encode_query(question), keys=keys)
            got = ranking(client.search(index=index, body=asked))
            expected_hits = ranking(client.search(index=own, body=ours))
            assert [score for _, score in got] == [score for _, score in expected_hits]
            assert dict(got).keys() - dict(expected_hits).keys() <= ties(got)
    rate, own_rate = len(texts) / by_cluster, len(texts) / by_client
    print(f"{len(texts)} documents: {rate:.0f}/s encoded by the cluster, {own_rate:.0f}/s by the client")


def test_a_sparse_vector_field_beyond_the_threshold(
    client: Any, address: str, bundle: str, encoder: SparseEncoder, texts: list[str], shared: Path, tmp_path: Path
) -> None:
    """The cluster's own encoding and the client's, in one index, which is there before: its parameters stay."""
    name, port = f"remote-{uuid4().hex[:8]}", free_port()
    pipelines = {"default_pipeline": f"{name}-ingest", "search.default_pipeline": f"{name}-search"}
    parameters = {"approximate_threshold": 100}
    body = index_body(encoder.bundle, "sparse", "sparse_vector", settings=pipelines, parameters=parameters)
    client.indices.create(index=name, body=body)
    documents = ["😀", *texts[:500], "😀"]  # whose vectors have no entries
    try:
        with server_on(port):
            out = package(
                *(bundle, "--target", "opensearch-connector", "--output", str(tmp_path / "bodies"), "--name", name),
                *("--server", f"http://127.0.0.1:{port}", "--register", f"opensearch://{address}/{name}"),
                *("--kind", "sparse_vector"),
            )
            assert "created search pipeline" in out
            assert f"kept index {name}" in out
            made = json.loads((tmp_path / "bodies" / "index.json").read_text(encoding="utf-8"))
            there = client.indices.get_mapping(index=name)[name]["mappings"]
            del there["properties"]["sparse"]["method"]["parameters"]["approximate_threshold"]
            assert made["mappings"]["properties"] == there["properties"]
            keys = keys_of(encoder.bundle, "ids")
            done = bulk(client, name, documents)
            assert not done["errors"], [item for item in done["items"] if item["index"].get("error")][:2]
            client.indices.forcemerge(index=name, max_num_segments=1)
            for i, vector in enumerate(encoder.encode_document(documents)):
                stored = client.get(index=name, id=str(i))["_source"]
                sparse = {"sparse": document_tokens(vector, keys)} if len(vector.indices) else {}
                assert stored == {"text": documents[i], **sparse}
            questions = (shared / "data" / "queries_short.txt").read_text(encoding="utf-8").splitlines()[:50]
            for question in [*questions, *AWKWARD]:
                ours = query_body(encoder.encode_query(question), kind="sparse_vector", keys=keys)
                method = {"method_parameters": {"top_n": 30, "heap_factor": 1.5}}
                theirs = {"query": {"neural_sparse": {"sparse": {"query_text": question, **method}}}}
                got = ranking(client.search(index=name, body=theirs))
                assert got == ranking(client.search(index=name, body=ours))
    finally:
        client.indices.delete(index=name, ignore_unavailable=True)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (
            "rank_features",
            "without index.default_pipeline: {name}-ingest and index.search.default_pipeline: {name}-",
        ),
        ("sparse_vector", "has kind sparse_vector, and rank_features is asked"),
    ],
)
def test_an_index_that_does_not_fit_is_left_alone(
    client: Any,
    address: str,
    index: str,
    bundle: str,
    encoder: SparseEncoder,
    tmp_path: Path,
    kind: Any,
    message: str,
) -> None:
    from opensearchpy.exceptions import NotFoundError

    client.indices.create(index=index, body=index_body(encoder.bundle, "sparse", kind))
    base = ["package", bundle, "--target", "opensearch-connector", "--output", str(tmp_path / "a"), "--name", index]
    with running(encoder) as http:
        asked = ["--server", str(http.base_url), "--register", f"opensearch://{address}/{index}"]
        result = CliRunner().invoke(main, [*base, *asked])
    assert result.exit_code == 1
    assert message.format(name=index) in result.output
    assert "created" not in result.output
    with pytest.raises(NotFoundError):
        client.ingest.get_pipeline(id=f"{index}-ingest")


def test_what_fails_while_the_server_is_away_is_reported(
    client: Any, served: tuple[str, int], texts: list[str]
) -> None:
    index, port = served
    with server_on(port):
        assert not bulk(client, index, texts[:100])["errors"]
    away = bulk(client, index, texts[100:300], start=100)
    failed = [item["index"] for item in away["items"] if "error" in item["index"]]
    assert away["errors"]
    assert len(failed) == 200
    assert all(item["error"]["reason"] for item in failed)
    with server_on(port):
        again = bulk(client, index, texts[100:300], start=100)
        assert not again["errors"]
        assert client.count(index=index)["count"] == 300
        asked = {"query": {"neural_sparse": {"sparse": {"query_text": texts[150]}}}}
        assert client.search(index=index, body=asked)["hits"]["hits"][0]["_id"] == "150"


def test_the_files_hold_no_key_and_fit_each_other(bundle: str, tmp_path: Path) -> None:
    package(
        *(
            bundle,
            "--target",
            "opensearch-connector",
            "--output",
            str(tmp_path / "a"),
            "--server",
            "http://10.0.0.5:8080",
        ),
        *("--api-key", "s3cret", "--name", "kosplade", "--field", "vector", "--batch-size", "32"),
    )
    files = {path.name: json.loads(path.read_text(encoding="utf-8")) for path in (tmp_path / "a").iterdir()}
    assert set(files) == {
        "document-connector.json",
        "query-connector.json",
        "document-model.json",
        "query-model.json",
        "kosplade-ingest.json",
        "kosplade-search.json",
        "index.json",
    }
    assert "s3cret" not in json.dumps(files)
    assert files["document-connector.json"]["credential"] == {"key": KEY}
    [action] = files["query-connector.json"]["actions"]
    assert action["url"] == "http://10.0.0.5:8080/v1/encode"
    assert '"side": "query"' in action["request_body"]
    _, processor, _ = files["kosplade-ingest.json"]["processors"]
    assert processor["sparse_encoding"]["field_map"] == {"_spladert_sent": "vector"}
    assert processor["sparse_encoding"]["batch_size"] == 32
    settings = files["index.json"]["settings"]["index"]
    assert settings["default_pipeline"] == "kosplade-ingest"
    assert settings["search.default_pipeline"] == "kosplade-search"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "needs --server"),
        (["--server", "10.0.0.5:8080"], "not the URL of a server"),
        (["--server", "http://a", "--variant", "cpu-int8"], "--variant is not for --target opensearch-connector"),
        (["--server", "http://a", "--server-here", "http://b"], "--server-here is where the server is asked"),
        (["--server", "http://127.0.0.1:1", "--register", "opensearch://127.0.0.1:1/i"], "start it first"),
        (
            ["--server", "http://a", "--server-here", "localhost:1", "--register", "opensearch://127.0.0.1:1/i"],
            "'localhost:1' is not the URL of a server",
        ),
    ],
)
def test_what_cannot_be_packaged(bundle: str, tmp_path: Path, arguments: list[str], message: str) -> None:
    base = ["package", bundle, "--target", "opensearch-connector", "--output", str(tmp_path / "a")]
    result = CliRunner().invoke(main, [*base, *arguments])
    assert result.exit_code != 0
    assert message in result.output


def test_a_folder_with_files_is_left_alone(bundle: str, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("")
    result = CliRunner().invoke(
        main,
        ["package", bundle, "--target", "opensearch-connector", "--output", str(tmp_path), "--server", "http://a"],
    )
    assert result.exit_code == 1
    assert "is not empty" in result.output


def test_batches_have_texts() -> None:
    with pytest.raises(InputError, match="batch_size is 0"):
        Remote("http://a", batch_size=0)


@pytest.mark.parametrize("name", ["", "../up", "a/b", "q?w#", "-x", " a"])
def test_names_that_no_pipeline_has(name: str) -> None:
    with pytest.raises(InputError, match=r"the name is .*, of pipelines and files"):
        Remote("http://127.0.0.1:8080", name=name)


def test_secrets_are_not_repeated(encoder: SparseEncoder, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds a user or a password") as refused:
        Remote("http://me:hidden@127.0.0.1:8080")
    assert "hidden" not in str(refused.value)
    for key in ("hidden\n", "\ud0a4 hidden"):
        server, reached = "http://127.0.0.1:1", Connection()
        with pytest.raises(InputError, match="characters that no HTTP header takes") as refused:
            package_connector(encoder.bundle, tmp_path, server=server, connection=reached, api_key=key)
        assert "hidden" not in str(refused.value)
    assert not list(tmp_path.iterdir())
