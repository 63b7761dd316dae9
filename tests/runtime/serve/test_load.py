"""Many requests at once, and what happens when it is too many, too late, or nobody listens any more."""

from __future__ import annotations

import random
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import httpx
import numpy as np

from spladert import SparseEncoder
from spladert.serve import ServerOptions
from support.checkpoints import LINES
from support.server import gated, running, spawned


def waiting(client: httpx.Client) -> int:
    [line] = [one for one in client.get("/metrics").text.splitlines() if one.startswith("spladert_waiting_texts")]
    return int(float(line.split()[1]))


def metric(client: httpx.Client, name: str) -> float:
    found = [line for line in client.get("/metrics").text.splitlines() if line.startswith(name)]
    return sum(float(line.split()[-1]) for line in found)


def until(condition: object) -> None:
    for _ in range(500):
        if condition():  # type: ignore[operator]
            return
        time.sleep(0.02)
    raise AssertionError("it did not come to this")


def test_results_do_not_depend_on_neighbours(client: httpx.Client, encoder: SparseEncoder) -> None:
    """Through HTTP, in whatever batches: the ids of the library bit by bit, the weights to 1e-5."""
    words = " ".join(LINES).split()
    rng = random.Random(0)
    texts = [" ".join(rng.choices(words, k=rng.randint(1, 30))) for _ in range(300)]
    expected = [encoder.encode(text) for text in texts]
    order = rng.choices(range(len(texts)), k=600)

    def check(chosen: list[int]) -> int:
        answer = client.post("/v1/encode", json={"inputs": [texts[i] for i in chosen]})
        assert answer.status_code == 200, answer.text
        for i, got in zip(chosen, answer.json(), strict=True):
            assert got["indices"] == expected[i].indices.tolist()
            assert np.allclose(got["values"], expected[i].values, rtol=0, atol=1e-5)
        return int(answer.headers["x-batch-texts"])

    parts, at = [], 0
    while at < len(order):
        size = rng.choice([1, 1, 2, 5, 17])
        parts.append(order[at : at + size])
        at += size
    with ThreadPoolExecutor(16) as pool:
        sizes = list(pool.map(check, parts))
    assert max(sizes) > 1


def test_queries_overtake_documents(encoder: SparseEncoder) -> None:
    slow, engine = gated(encoder)
    with running(slow) as client, ThreadPoolExecutor(4) as pool:
        engine.gate.clear()
        first = pool.submit(client.post, "/v1/encode", json={"inputs": "a"})
        until(lambda: len(engine.batches) == 2)  # the server's own first text, and this one
        documents = pool.submit(client.post, "/v1/encode", json={"inputs": [LINES[0]] * 40})
        until(lambda: waiting(client) == 40)
        query = pool.submit(client.post, "/v1/encode", json={"inputs": LINES[1], "side": "query"})
        until(lambda: waiting(client) == 41)
        engine.gate.set()
        assert {future.result().status_code for future in (first, documents, query)} == {200}
        assert engine.batches[2] == encoder.tokenize_batch([LINES[1]]).input_ids


def test_over_the_queue_429_with_retry_after(encoder: SparseEncoder) -> None:
    slow, engine = gated(encoder)
    options = ServerOptions(max_queue=4, max_client_batch_size=4)
    with running(slow, options) as client, ThreadPoolExecutor(4) as pool:
        engine.gate.clear()
        accepted = [pool.submit(client.post, "/v1/encode", json={"inputs": "a"})]
        until(lambda: len(engine.batches) == 2)
        accepted.append(pool.submit(client.post, "/embed_sparse", json={"inputs": ["b"] * 4}))
        until(lambda: waiting(client) == 4)
        for path in ("/v1/encode", "/embed_sparse"):
            refused = client.post(path, json={"inputs": "c"})
            assert refused.status_code == 429
            assert refused.json() == {"error": "Model is overloaded", "error_type": "Overloaded"}
            assert int(refused.headers["retry-after"]) >= 1
        assert metric(client, 'spladert_rejected_total{reason="queue"}') == 2
        engine.gate.set()
        assert [future.result().status_code for future in accepted] == [200, 200]


def test_time_is_up(encoder: SparseEncoder) -> None:
    slow, engine = gated(encoder)
    with running(slow, ServerOptions(timeout=0.3)) as client:
        engine.gate.clear()
        late = client.post("/v1/encode", json={"inputs": "a"})
        engine.gate.set()
        assert late.status_code == 503
        assert "within 0.3 seconds" in late.json()["error"]
        assert "retry-after" in late.headers
        until(lambda: client.post("/v1/encode", json={"inputs": "a"}).status_code == 200)


def test_work_of_a_client_that_is_gone_is_dropped(encoder: SparseEncoder) -> None:
    slow, engine = gated(encoder)
    with running(slow) as client, ThreadPoolExecutor(2) as pool:
        engine.gate.clear()
        first = pool.submit(client.post, "/v1/encode", json={"inputs": "a"})
        until(lambda: len(engine.batches) == 2)
        address = urlsplit(str(client.base_url))
        with socket.create_connection((address.hostname, address.port)) as connection:
            body = b'{"inputs": ["b", "c"]}'
            connection.sendall(
                b"POST /v1/encode HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
            )
            until(lambda: waiting(client) == 2)
        until(lambda: waiting(client) == 0)
        assert metric(client, "spladert_dropped_total") == 1
        engine.gate.set()
        assert first.result().status_code == 200
        assert len(engine.batches) == 2


def test_a_failure_is_424_and_health_tells_until_it_works_again(encoder: SparseEncoder) -> None:
    slow, engine = gated(encoder)
    with running(slow) as client:
        engine.error = RuntimeError("device lost")
        failed = client.post("/embed_sparse", json={"inputs": "a"})
        assert failed.status_code == 424
        assert failed.json() == {"error": "Inference failed: device lost", "error_type": "Backend"}
        assert client.get("/health").status_code == client.get("/health/ready").status_code == 503
        assert client.get("/health").json() == {"error": "unhealthy", "error_type": "Unhealthy"}
        assert client.get("/health/live").status_code == 200
        engine.error = None
        assert client.get("/health").status_code == 200


def test_sigterm_finishes_what_was_accepted() -> None:
    with spawned("--threads", "1", "--no-spin") as (process, url), ThreadPoolExecutor(8) as pool:
        texts = ["당뇨병 치료 방법을 알려 주세요 " * 8] * 64

        def ask(_: int) -> httpx.Response:
            return httpx.post(f"{url}/v1/encode", json={"inputs": texts}, timeout=60)

        futures = [pool.submit(ask, i) for i in range(8)]
        with httpx.Client(base_url=url) as client:
            until(lambda: metric(client, "spladert_tokenize_seconds_count") == 8)  # all are accepted
            assert waiting(client) > 0
        process.send_signal(signal.SIGTERM)
        answers = [future.result() for future in futures]
        assert {answer.status_code for answer in answers} == {200}
        assert all(len(answer.json()) == len(texts) for answer in answers)
        assert process.wait(30) in (0, -signal.SIGTERM)


def test_workers_share_the_port_and_their_metrics(tiny_bundle: object) -> None:
    with spawned(str(tiny_bundle), "--workers", "2", "--threads", "1") as (process, url):
        answers = [httpx.post(f"{url}/v1/encode", json={"inputs": "a"}) for _ in range(20)]
        assert {answer.status_code for answer in answers} == {200}
        with httpx.Client(base_url=url) as client:
            until(lambda: metric(client, "spladert_texts_total") >= 22)  # and each worker's own first text
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) in (0, -signal.SIGTERM)


def test_no_text_in_logs() -> None:
    secret = "비밀문장"
    with spawned("--threads", "1", "--log-level", "debug") as (process, url):
        for body in ({"inputs": secret}, {"inputs": [secret, 5]}, {"inputs": secret, "prompt_name": secret}):
            answer = httpx.post(f"{url}/embed_sparse", json=body)
            assert answer.status_code in (200, 422)
            assert answer.status_code == 200 or secret not in answer.text
        log = process.log  # type: ignore[attr-defined]
    assert log
    assert not [line for line in log if secret in line or repr(secret.encode()) in line]


def test_threads_end_with_the_server(encoder: SparseEncoder) -> None:
    before = threading.active_count()
    with running(encoder) as client:
        assert client.post("/v1/encode", json={"inputs": "a"}).status_code == 200
    until(lambda: threading.active_count() <= before + 1)  # asyncio's own pool may linger
