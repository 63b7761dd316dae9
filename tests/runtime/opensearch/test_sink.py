"""The sink on a real node: what goes in, what is refused, and that nothing is lost or doubled by what goes wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from benchmarks.suite.opensearch_node import Node, client_of
from spladert import SparseEncoder
from spladert.errors import InputError, StoreError
from spladert.opensearch import document_tokens, keys_of
from spladert.opensearch.bulk import BulkSender, Document, Retries
from spladert.opensearch.client import connect
from spladert.stores import Connection, parse_store_url
from support.clock import Clock
from support.opensearch_load import load_documents, write_documents
from support.paths import ROOT
from support.slow_proxy import proxy_to

WORDS = ["당뇨병", "치료", "손해배상", "소송", "날씨", "기온", "헌법", "인슐린", "계약서", "약관"]


def documents(count: int) -> list[dict[str, Any]]:
    return [{"_id": f"d{n}", "text": f"{WORDS[n % 10]} {WORDS[n * 7 % 10]} {n}", "number": n} for n in range(count)]


def stored(client: Any, index: str) -> dict[str, dict[str, Any]]:
    """All documents of an index by `_id`."""
    client.indices.refresh(index=index)
    found: list[Any] = []
    after: list[Any] | None = None
    while True:
        body = {"size": 1_000, "sort": [{"_id": "asc"}], **({"search_after": after} if after else {})}
        hits = client.search(index=index, body=body)["hits"]["hits"]
        if not hits:
            break
        found += hits
        after = hits[-1]["sort"]
    assert len({hit["_id"] for hit in found}) == len(found) == client.count(index=index)["count"]
    return {hit["_id"]: hit["_source"] for hit in found}


def assert_whole(client: Any, index: str, expected: list[dict[str, Any]]) -> None:
    """Every document is there once, with its fields and a vector."""
    there = stored(client, index)
    assert there.keys() == {document["_id"] for document in expected}
    for document in expected:
        source = there[document["_id"]]
        assert source.pop("sparse")
        assert source == {name: value for name, value in document.items() if name != "_id"}


def records_done(state: Path) -> int:
    """How far the job of a state folder is."""
    states = list(state.glob("*/state.json"))
    return int(json.loads(states[0].read_text())["progress"]["records"]) if states else 0


def test_documents_are_there_with_their_fields_and_vectors(
    client: Any, address: str, index: str, encoder: SparseEncoder, tmp_path: Path
) -> None:
    path = write_documents(tmp_path / "docs.jsonl", documents(100))
    summary, report = load_documents(encoder, f"opensearch://{address}/{index}", path, tmp_path / "state")
    assert (summary.texts, summary.errors, summary.resumed, report) == (100, 0, 0, ())
    there = stored(client, index)
    keys = keys_of(encoder.bundle)
    for document in documents(100):
        vector = encoder.encode_document(document["text"])
        assert there[document["_id"]]["sparse"] == document_tokens(vector, keys)
    assert_whole(client, index, documents(100))
    assert list((tmp_path / "state").iterdir()) == []


def test_without_an_id_the_content_decides(
    client: Any, address: str, index: str, encoder: SparseEncoder, tmp_path: Path
) -> None:
    url = f"opensearch://{address}/{index}"
    for name, lines in {"a.txt": "하나\n둘\n", "b.txt": "셋\n둘\n"}.items():
        path = tmp_path / name
        path.write_text(lines, encoding="utf-8")
        load_documents(encoder, url, path, tmp_path / "state")
    assert sorted(source["text"] for source in stored(client, index).values()) == ["둘", "셋", "하나"]


def test_what_the_cluster_refuses_can_be_sent_again(
    client: Any, address: str, index: str, encoder: SparseEncoder, tmp_path: Path
) -> None:
    url, state = f"opensearch://{address}/{index}", tmp_path / "state"
    some = documents(80)
    for n in (3, 70):
        some[n]["number"] = "many"  # the field is a number since the first document
    some[40]["sparse"] = "taken"
    _, report = load_documents(encoder, url, write_documents(tmp_path / "docs.jsonl", some), state)
    (sentence,) = report
    assert "3 documents were refused" in sentence
    assert_whole(client, index, [each for n, each in enumerate(some) if n not in (3, 40, 70)])
    (refused,) = state.glob("*.refused.jsonl")
    lines = {line["_id"]: line for line in map(json.loads, refused.read_text(encoding="utf-8").splitlines())}
    assert lines.keys() == {"d3", "d40", "d70"}
    assert "400 mapper_parsing_exception" in lines["d3"]["_refused"]["error"]
    assert "many" in lines["d3"]["_refused"]["error"]
    assert "'sparse' already" in lines["d40"]["_refused"]["error"]
    mended = tmp_path / "mended.jsonl"
    write_documents(mended, [{**lines[f"d{n}"], "number": n} for n in (3, 70)])
    load_documents(encoder, url, mended, state)
    assert_whole(client, index, [{**each, "number": n} for n, each in enumerate(documents(80)) if n != 40])


def test_bad_lines_are_kept_aside(
    client: Any, address: str, index: str, encoder: SparseEncoder, tmp_path: Path
) -> None:
    path = write_documents(tmp_path / "docs.jsonl", documents(5))
    with path.open("a", encoding="utf-8") as stream:
        stream.write("{no json\n")
    summary, (sentence,) = load_documents(encoder, f"opensearch://{address}/{index}", path, tmp_path / "state")
    assert (summary.texts, summary.errors) == (5, 1)
    assert "1 bad line was skipped" in sentence
    assert list((tmp_path / "state").glob("*.errors.jsonl"))


def test_another_models_index_is_refused_by_name(
    client: Any, address: str, index: str, encoder: SparseEncoder, tiny_bundle: Path, tmp_path: Path
) -> None:
    url = f"opensearch://{address}/{index}"
    path = write_documents(tmp_path / "docs.jsonl", documents(3))
    load_documents(encoder, url, path, tmp_path / "state")
    with (
        SparseEncoder.load(tiny_bundle, threads=1, spin=False) as other,
        pytest.raises(InputError, match="different weights and tokenizer and key spelling"),
    ):
        load_documents(other, url, path, tmp_path / "state")
    with pytest.raises(InputError, match="has keys tokens, and ids is asked"):
        load_documents(encoder, f"{url}?keys=ids", path, tmp_path / "state")


def test_an_index_of_unknown_origin_is_taken_only_while_empty(
    client: Any, address: str, index: str, encoder: SparseEncoder, tmp_path: Path
) -> None:
    url = f"opensearch://{address}/{index}"
    path = write_documents(tmp_path / "docs.jsonl", documents(3))
    mappings = {"properties": {"sparse": {"type": "rank_features"}}}
    client.indices.create(index=index, body={"mappings": mappings})
    load_documents(encoder, url, path, tmp_path / "state")
    assert_whole(client, index, documents(3))
    client.indices.delete(index=index)
    client.indices.create(index=index, body={"mappings": mappings})
    client.index(index=index, body={"sparse": {"x": 1.0}}, refresh=True)
    with pytest.raises(InputError, match="no word on what made their vectors"):
        load_documents(encoder, url, path, tmp_path / "state")


def test_an_alias_moves_when_the_new_index_is_whole(
    client: Any, address: str, index: str, encoder: SparseEncoder, tmp_path: Path
) -> None:
    alias = f"{index}-now"
    path = write_documents(tmp_path / "docs.jsonl", documents(3))
    for name in ("a", "b"):
        url = f"opensearch://{address}/{index}-{name}"
        _, report = load_documents(encoder, url, path, tmp_path / "state", alias=alias)
        assert list(client.indices.get_alias(name=alias)) == [f"{index}-{name}"]
    assert report == (f"the alias {alias!r} is {index}-b now, which was {index}-a",)
    with pytest.raises(InputError, match="is there already"):
        load_documents(encoder, url, path, tmp_path / "state", alias=alias)
    with pytest.raises(InputError, match="is an index, so it cannot be an alias"):
        load_documents(encoder, f"opensearch://{address}/{index}-c", path, tmp_path / "state", alias=f"{index}-a")


def test_a_sparse_vector_is_made_of_the_first_documents(
    client: Any, address: str, index: str, encoder: SparseEncoder, tmp_path: Path
) -> None:
    url = f"opensearch://{address}/{index}?kind=sparse_vector&approximate_threshold=500&number_of_replicas=0"
    path = write_documents(tmp_path / "docs.jsonl", documents(70))
    load_documents(encoder, url, path, tmp_path / "state")
    assert_whole(client, index, documents(70))
    made = client.indices.get(index=index)[index]
    parameters = made["mappings"]["properties"]["sparse"]["method"]["parameters"]
    heaviest = max(float(encoder.encode_document(each["text"]).values[0]) for each in documents(64))
    assert heaviest <= parameters["quantization_ceiling_ingest"] < heaviest + 0.1
    assert parameters["approximate_threshold"] == 500
    assert made["settings"]["index"]["number_of_replicas"] == "0"


def test_texts_without_entries_are_stored_without_a_vector(
    client: Any, address: str, index: str, encoder: SparseEncoder, tmp_path: Path
) -> None:
    """An empty vector in a sparse_vector field would have the cluster refuse others."""
    nothing = [{"_id": f"n{n}", "text": text} for n, text in enumerate(("", "😀"))]
    some = [nothing[0], *documents(10), nothing[1], *documents(20)[10:]]
    for number, content in enumerate((some, nothing)):
        url = f"opensearch://{address}/{index}-{number}?kind=sparse_vector"
        path = write_documents(tmp_path / "docs.jsonl", content)
        summary, report = load_documents(encoder, url, path, tmp_path / "state", chunk=8)
        assert (summary.refused, report) == (0, ())
        there = stored(client, f"{index}-{number}")
        assert there.keys() == {document["_id"] for document in content}
        assert [key for key in there if "sparse" not in there[key]] == ["n0", "n1"]


def test_a_killed_loader_goes_on(client: Any, address: str, index: str, encoder: SparseEncoder, tmp_path: Path) -> None:
    path = write_documents(tmp_path / "docs.jsonl", documents(1_500))
    url, state = f"opensearch://{address}/{index}", tmp_path / "state"
    command = [sys.executable, "-m", "support.opensearch_load", url, str(path), str(state)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests")}
    done = 0
    for wanted in (64, 400):
        process = subprocess.Popen(command, env=environment)
        while done < wanted:
            assert process.poll() is None, "it ended before it could be killed"
            done = records_done(state)
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    with pytest.raises(InputError, match="different alias"):
        load_documents(encoder, url, path, state, alias="other")
    summary, _ = load_documents(encoder, url, path, state)
    assert summary.texts == 1_500
    assert 400 <= summary.resumed < 1_500
    assert_whole(client, index, documents(1_500))


def test_a_read_only_index_stops_the_job_which_then_goes_on(
    client: Any, address: str, index: str, encoder: SparseEncoder, tmp_path: Path
) -> None:
    url, state = f"opensearch://{address}/{index}", tmp_path / "state"
    path = write_documents(tmp_path / "docs.jsonl", documents(100))
    load_documents(encoder, url, write_documents(tmp_path / "first.jsonl", documents(10)), state)
    client.indices.put_settings(index=index, body={"index.blocks.write": True})
    with pytest.raises(StoreError, match=r"takes no writes.*same command goes on"):
        load_documents(encoder, url, path, state)
    assert stored(client, index).keys() == {f"d{n}" for n in range(10)}
    client.indices.put_settings(index=index, body={"index.blocks.write": None})
    load_documents(encoder, url, path, state)
    assert_whole(client, index, documents(100))


def test_slow_and_broken_answers_double_nothing(
    client: Any, address: str, index: str, encoder: SparseEncoder, tmp_path: Path
) -> None:
    path = write_documents(tmp_path / "docs.jsonl", documents(200))
    with proxy_to(address) as proxy:
        proxy.drops, proxy.delays = 1, [5.0]
        url = f"opensearch://127.0.0.1:{proxy.port}/{index}"
        _, report = load_documents(encoder, url, path, tmp_path / "state", connection=Connection(timeout=2.5))
        assert (proxy.drops, proxy.delays) == (0, [])
    assert any("sent again" in sentence for sentence in report)
    assert_whole(client, index, documents(200))


@pytest.mark.parametrize("path", [b"/_mapping", b"/_refresh", b"PUT /"])
def test_what_is_asked_around_the_documents_is_asked_again(
    client: Any, address: str, index: str, encoder: SparseEncoder, tmp_path: Path, path: bytes
) -> None:
    """Whether the index is there, that it be made, and that its documents can be found."""
    docs = write_documents(tmp_path / "docs.jsonl", documents(20))
    with proxy_to(address) as proxy:
        proxy.path, proxy.refusals, proxy.drops, proxy.delays = path, [503, 429], 1, [5.0]
        url = f"opensearch://127.0.0.1:{proxy.port}/{index}"
        alias = f"{index}-now"
        options = {"connection": Connection(timeout=2.5), "alias": alias}
        _, report = load_documents(encoder, url, docs, tmp_path / "state", **options)
        assert (proxy.refusals, proxy.drops, proxy.delays) == ([], 0, [])
    assert "4 requests were sent again" in report
    assert f"the alias {alias!r} is {index} now" in report
    assert_whole(client, index, documents(20))


def test_documents_that_replace_others_are_counted(
    client: Any, address: str, index: str, encoder: SparseEncoder, tmp_path: Path
) -> None:
    url = f"opensearch://{address}/{index}"
    twice = [*documents(100), *[{**each, "number": -1} for each in documents(7)]]
    path = write_documents(tmp_path / "docs.jsonl", twice)
    _, report = load_documents(encoder, url, path, tmp_path / "state")
    assert report == ("7 documents replaced ones that were there with the same _id",)
    assert client.count(index=index)["count"] == 100
    assert_whole(client, index, [{**each, "number": -1} if n < 7 else each for n, each in enumerate(documents(100))])


def test_documents_that_were_sent_again_replace_none(
    client: Any, address: str, index: str, encoder: SparseEncoder, tmp_path: Path
) -> None:
    path = write_documents(tmp_path / "docs.jsonl", documents(20))
    with proxy_to(address) as proxy:
        proxy.drops = 1
        url = f"opensearch://127.0.0.1:{proxy.port}/{index}"
        _, report = load_documents(encoder, url, path, tmp_path / "state")
    assert report == ("1 request was sent again",)


def test_a_node_that_is_gone_too_long_ends_the_job(encoder: SparseEncoder, tmp_path: Path) -> None:
    path = write_documents(tmp_path / "docs.jsonl", documents(2))
    with pytest.raises(StoreError, match="cannot be reached"):
        load_documents(encoder, "opensearch://127.0.0.1:9/gone", path, tmp_path / "state")
    url = parse_store_url("opensearch://127.0.0.1:9/gone")
    waits: list[float] = []
    clock = Clock()

    def wait(seconds: float) -> None:
        waits.append(seconds)
        clock.passes(seconds)

    sender = BulkSender(
        connect(url, Connection()), url, options=Retries(first=1, longest=4, patience=20), sleep=wait, clock=clock
    )
    with pytest.raises(StoreError, match=r"has taken nothing for 20 s: .*the same command goes on"):
        sender.send([Document("a", b"{}")])
    assert 20 < sum(waits) <= 26
    for seconds, shortest in zip(waits, [1, 2, 4, 4, 4], strict=False):
        assert shortest <= seconds <= 1.5 * shortest


def test_a_node_killed_in_the_middle_of_a_bulk(mortal_node: Node, encoder: SparseEncoder, tmp_path: Path) -> None:
    """SIGKILL while documents stream in, and a start over the same data."""
    path = write_documents(tmp_path / "docs.jsonl", documents(600))

    def kill_once_it_has_begun() -> None:
        end = time.monotonic() + 120
        while records_done(tmp_path / "state") < 100:
            assert time.monotonic() < end, "the job has not begun"
            time.sleep(0.01)
        mortal_node.kill()
        mortal_node.start()

    url = f"opensearch://{mortal_node.address}/docs"
    with ThreadPoolExecutor(1) as pool:
        killer = pool.submit(kill_once_it_has_begun)
        summary, report = load_documents(encoder, url, path, tmp_path / "state", chunk=16)
        killer.result()
    assert summary.texts == 600
    assert any("sent again" in sentence for sentence in report)
    assert_whole(client_of(mortal_node.address), "docs", documents(600))


def test_a_full_queue_is_waited_for(mortal_node: Node) -> None:
    """Many senders at once on a node that queues almost nothing: it answers 429, and everything arrives."""
    url = parse_store_url(f"opensearch://{mortal_node.address}/full")
    client_of(mortal_node.address).indices.create(index="full")

    def retries_of(number: int) -> int:
        sender = BulkSender(connect(url, Connection()), url, options=Retries(0.01, 0.2, 120), request_bytes=20_000)
        body = json.dumps({"text": "가" * 300}).encode()
        assert sender.send([Document(f"{number}-{n}", body) for n in range(100)]) == []
        return sender.retries

    with ThreadPoolExecutor(12) as pool:
        assert sum(pool.map(retries_of, range(12))) > 0, "the queue was never full"
    assert len(stored(client_of(mortal_node.address), "full")) == 1_200
