"""Registering a server in a real node: again, beside others, and where it fails."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from click.testing import CliRunner

pytest.importorskip("fastapi", reason="needs the serve extra: pip install 'spladert[serve]'")

from spladert import SparseEncoder
from spladert.cli import main
from spladert.serve import ServerOptions
from support.server import running
from support.slow_proxy import proxy_to

CONNECTORS, MODELS, GROUPS = ("/_plugins/_ml/connectors", "/_plugins/_ml/models", "/_plugins/_ml/model_groups")


@pytest.fixture
def name(client: Any) -> Iterator[str]:
    """Of models, pipelines and index."""
    name = f"registered-{uuid4().hex[:8]}"
    yield name
    client.indices.delete(index=f"{name}*", ignore_unavailable=True)


@pytest.fixture
def server(encoder: SparseEncoder) -> Iterator[str]:
    with running(encoder) as http:
        yield str(http.base_url)


def register(encoder: SparseEncoder, folder: Path, server: str, where: str, name: str, *more: str) -> tuple[int, str]:
    base = ["package", str(encoder.bundle.path), "--target", "opensearch-connector", "--output", str(folder)]
    asked = ["--server", server, "--register", f"opensearch://{where}", "--name", name, *more]
    result = CliRunner().invoke(main, [*base, *asked], catch_exceptions=False)
    return result.exit_code, result.output


def there(client: Any, name: str) -> dict[str, Any]:
    """All that a registration makes, by kind, as it is in the cluster."""
    from opensearchpy.exceptions import NotFoundError

    found: dict[str, Any] = {}
    for kind in (CONNECTORS, MODELS, GROUPS):
        query = {"query": {"prefix": {"name.keyword": name}}}
        try:
            hits = client.transport.perform_request("POST", f"{kind}/_search", body=query)["hits"]["hits"]
        except NotFoundError:
            hits = []
        found[kind] = sorted(hit["_id"] for hit in hits)
    for kind, pipeline in (("ingest", f"{name}-ingest"), ("search", f"{name}-search")):
        try:
            found[kind] = client.transport.perform_request("GET", f"/_{kind}/pipeline/{pipeline}")
        except NotFoundError:
            found[kind] = {}
    found["indexes"] = sorted(client.indices.get(index=f"{name}*"))
    return found


def nothing(client: Any, name: str) -> bool:
    return not any(there(client, name).values())


def test_the_same_command_again_changes_nothing(
    client: Any, address: str, name: str, server: str, encoder: SparseEncoder, tmp_path: Path
) -> None:
    status, out = register(encoder, tmp_path / "a", server, f"{address}/{name}", name)
    assert status == 0, out
    first = there(client, name)
    assert [len(first[kind]) for kind in (CONNECTORS, MODELS)] == [2, 2]
    status, out = register(encoder, tmp_path / "a", server, f"{address}/{name}", name)
    assert status == 0, out
    assert "created" not in out
    assert out.count("kept ") == 7
    assert there(client, name) == first
    status, out = register(encoder, tmp_path / "b", server, f"{address}/{name}-2", name)
    assert status == 0, out
    assert out.count("kept ") == 6
    assert f"created index {name}-2" in out


def test_a_model_that_the_cluster_notes_something_of_is_deployed_a_little_later(
    address: str, name: str, server: str, encoder: SparseEncoder, tmp_path: Path
) -> None:
    """A node writes down by itself, every few seconds, where a model runs; a `_deploy` at that moment gets a 409."""
    with proxy_to(address) as proxy:
        proxy.path, proxy.refusals = b"/_deploy", [409, 503]
        status, out = register(encoder, tmp_path / "a", server, f"127.0.0.1:{proxy.port}/{name}", name)
        assert (status, proxy.refusals) == (0, []), out


def test_another_model_where_the_cluster_looks(
    client: Any, address: str, name: str, server: str, encoder: SparseEncoder, tiny_bundle: Path, tmp_path: Path
) -> None:
    with SparseEncoder.load(tiny_bundle) as tiny, running(tiny) as other:
        there_and_here = (str(other.base_url), f"{address}/{name}", name, "--server-here", server)
        status, out = register(encoder, tmp_path / "a", *there_and_here)
    assert status == 1
    assert "as the cluster reaches it, gives other vectors than the bundle" in out
    assert nothing(client, name)


def test_what_was_removed_is_made_anew(
    client: Any, address: str, name: str, server: str, encoder: SparseEncoder, tmp_path: Path
) -> None:
    assert register(encoder, tmp_path / "a", server, f"{address}/{name}", name)[0] == 0
    [pipeline] = client.ingest.get_pipeline(id=f"{name}-ingest").values()
    model = pipeline["processors"][1]["sparse_encoding"]["model_id"]
    client.transport.perform_request("POST", f"{MODELS}/{model}/_undeploy")
    client.transport.perform_request("DELETE", f"{MODELS}/{model}")
    client.transport.perform_request("DELETE", f"/_search/pipeline/{name}-search")
    status, out = register(encoder, tmp_path / "a", server, f"{address}/{name}", name)
    assert status == 0, out
    for made in ("document model", "ingest pipeline", "search pipeline"):
        assert f"created {made}" in out
    assert out.count("kept ") == 4
    client.index(index=name, id="1", body={"text": "당뇨병 치료 방법"}, params={"refresh": "true"})
    asked = {"query": {"neural_sparse": {"sparse": {"query_text": "당뇨병"}}}}
    assert client.search(index=name, body=asked)["hits"]["total"]["value"] == 1


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--field", "other"], "processors.1.sparse_encoding.field_map._spladert_sent: sparse, now other"),
        (["--batch-size", "8"], "processors.1.sparse_encoding.batch_size: 64, now 8"),
        ([], "document connector.actions.0.url: http://127.0.0.1:"),  # another server
    ],
)
def test_pipelines_of_another_registration_stay(
    client: Any,
    address: str,
    name: str,
    server: str,
    encoder: SparseEncoder,
    tmp_path: Path,
    more: list[str],
    message: str,
) -> None:
    assert register(encoder, tmp_path / "a", server, f"{address}/{name}", name)[0] == 0
    before = there(client, name)
    with running(encoder) as http:
        other = server if more else str(http.base_url)
        status, out = register(encoder, tmp_path / "b", other, f"{address}/{name}-2", name, *more)
    assert status == 1
    assert f"_ingest/pipeline/{name}-ingest is on {address} already and would be replaced" in out
    assert message in " ".join(out.split())
    assert "give another --name" in out
    assert there(client, name) == before


def test_a_pipeline_of_somebody_else_stays(
    client: Any, address: str, name: str, server: str, encoder: SparseEncoder, tmp_path: Path
) -> None:
    body = {"processors": [{"set": {"field": "a", "value": 1}}]}
    client.ingest.put_pipeline(id=f"{name}-ingest", body=body)
    status, out = register(encoder, tmp_path / "a", server, f"{address}/{name}", name)
    assert status == 1
    assert f"{name}-ingest is on {address} already" in out
    left = there(client, name)
    assert left.pop("ingest") == {f"{name}-ingest": body}
    assert not any(left.values())


def test_a_server_that_is_down_leaves_nothing(
    client: Any, address: str, name: str, encoder: SparseEncoder, tmp_path: Path
) -> None:
    status, out = register(encoder, tmp_path / "a", "http://127.0.0.1:1", f"{address}/{name}", name)
    assert status == 1
    assert "the server http://127.0.0.1:1 cannot be reached from here" in out
    assert nothing(client, name)


def test_a_server_of_another_model_leaves_nothing(
    client: Any, address: str, name: str, encoder: SparseEncoder, tiny_bundle: Path, tmp_path: Path
) -> None:
    with SparseEncoder.load(tiny_bundle) as other, running(other) as http:
        status, out = register(encoder, tmp_path / "a", str(http.base_url), f"{address}/{name}", name)
    assert status == 1
    assert "serves a model with a different weights and tokenizer" in " ".join(out.split())
    assert nothing(client, name)


def test_a_server_that_takes_fewer_texts_leaves_nothing(
    client: Any, address: str, name: str, encoder: SparseEncoder, tmp_path: Path
) -> None:
    with running(encoder, ServerOptions(max_client_batch_size=4)) as http:
        status, out = register(encoder, tmp_path / "a", str(http.base_url), f"{address}/{name}", name)
    assert status == 1
    assert "takes at most 4 texts a call" in out
    assert nothing(client, name)


def test_a_server_that_only_this_machine_reaches_leaves_nothing(
    client: Any, address: str, name: str, server: str, encoder: SparseEncoder, tmp_path: Path
) -> None:
    here = ["--server-here", server]
    status, out = register(encoder, tmp_path / "a", "http://127.0.0.1:1", f"{address}/{name}", name, *here)
    assert status == 1
    assert "the cluster gets no vectors from the server" in " ".join(out.split())
    assert nothing(client, name)


def test_a_server_that_the_cluster_reaches_elsewhere(
    client: Any, address: str, name: str, server: str, encoder: SparseEncoder, tmp_path: Path
) -> None:
    elsewhere = server.replace("127.0.0.1", "localhost")
    status, out = register(encoder, tmp_path / "a", elsewhere, f"{address}/{name}", name, "--server-here", server)
    assert status == 0, out
    [connector, _] = there(client, name)[CONNECTORS]
    action = client.transport.perform_request("GET", f"{CONNECTORS}/{connector}")["actions"][0]
    assert action["url"] == f"{elsewhere}/v1/encode"


def test_what_fails_last_leaves_nothing(
    client: Any, address: str, name: str, server: str, encoder: SparseEncoder, tmp_path: Path
) -> None:
    """The index cannot be made: a template asks for more shards than a node takes."""
    refusing = {"index_patterns": [f"{name}*"], "template": {"settings": {"index": {"number_of_shards": 1024}}}}
    client.indices.put_index_template(name=name, body=refusing)
    try:
        with proxy_to(address) as proxy:  # a model that is gone is still in the way of its connector for a moment
            proxy.path, proxy.refusals = b"DELETE /_plugins/_ml/connectors", [409]
            status, out = register(encoder, tmp_path / "a", server, f"127.0.0.1:{proxy.port}/{name}", name)
            assert proxy.refusals == []
    finally:
        client.indices.delete_index_template(name=name)
    assert status == 1
    assert "refuses" in out
    assert nothing(client, name)


@pytest.mark.parametrize("sent", [[signal.SIGTERM], [signal.SIGINT, signal.SIGINT]])
@pytest.mark.parametrize("seen", [CONNECTORS, MODELS, "ingest"])
def test_a_signal_leaves_nothing(
    encoder: SparseEncoder,
    client: Any,
    address: str,
    server: str,
    name: str,
    tmp_path: Path,
    seen: str,
    sent: list[int],
) -> None:
    command = [sys.executable, "-c", "from spladert.cli import main; main()", "package", str(encoder.bundle.path)]
    command += ["--target", "opensearch-connector", "--output", str(tmp_path / "bodies"), "--server", server]
    process = subprocess.Popen([*command, "--register", f"opensearch://{address}/{name}", "--name", name])
    while not there(client, name)[seen]:
        assert process.poll() is None, "it ended before anything was seen"
    for number in sent:
        process.send_signal(number)
        time.sleep(0.1)
    status = process.wait(timeout=60)
    if status == 0:  # it came too late to end anything
        assert client.indices.exists(index=name)
    else:
        assert nothing(client, name)
        assert not client.indices.exists(index=name)


def test_a_new_key_goes_to_the_connectors_that_are_there(
    client: Any, address: str, name: str, encoder: SparseEncoder, tmp_path: Path
) -> None:
    with running(encoder, ServerOptions(api_key="first")) as http:
        port = http.base_url.port
        url, place = str(http.base_url), f"{address}/{name}"
        status, out = register(encoder, tmp_path / "a", url, place, name)
        assert status == 1
        assert "wants another API key" in out
        status, out = register(encoder, tmp_path / "a", url, place, name, "--api-key", "first")
        assert status == 0, out
    before = there(client, name)
    with running(encoder, ServerOptions(api_key="second"), port=port) as http:
        status, out = register(encoder, tmp_path / "a", url, place, name, "--api-key", "second")
        assert status == 0, out
        assert there(client, name) == before
        client.index(index=name, id="1", body={"text": "당뇨병 치료 방법"}, params={"refresh": "true"})
        asked = {"query": {"neural_sparse": {"sparse": {"query_text": "당뇨병"}}}}
        assert client.search(index=name, body=asked)["hits"]["total"]["value"] == 1
