"""Who may talk to the server, and what it does with clients that mean no good."""

from __future__ import annotations

import gzip
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import httpx
import pytest
from click.testing import CliRunner

from spladert import InputError, SparseEncoder
from spladert.cli import main
from spladert.serve import ServerOptions
from spladert.serve.protocol import GuardedProtocol
from support.server import running

JSON = {"Content-Type": "application/json"}


class ImpatientProtocol(GuardedProtocol):
    head_timeout = 0.3


@contextmanager
def connected(client: httpx.Client) -> Iterator[socket.socket]:
    address = urlsplit(str(client.base_url))
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        yield connection


def everything(connection: socket.socket) -> bytes:
    """What the server sends until it closes."""
    parts = []
    try:
        while part := connection.recv(65536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


def test_the_api_key(encoder: SparseEncoder) -> None:
    with running(encoder, ServerOptions(api_key="s3cret")) as client:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "s3cret"}):
            for path in ("/embed_sparse", "/v1/encode", "/tokenize", "/decode"):
                refused = client.post(path, json={"inputs": "a"}, headers=headers)
                assert refused.status_code == 401
                assert refused.headers["www-authenticate"] == "Bearer"
                assert "Authorization: Bearer KEY" in refused.json()["error"]
        assert client.get("/info").status_code == 401
        taken = client.post("/v1/encode", json={"inputs": "a"}, headers={"Authorization": "Bearer s3cret"})
        assert taken.status_code == 200
        for path in ("/", "/page/page.js", "/health", "/health/live", "/health/ready", "/metrics", "/openapi.json"):
            assert client.get(path).status_code == 200, path
        assert client.get("/page/../info").status_code == 401
        raw = client.build_request("GET", "/info")
        raw.url = raw.url.copy_with(raw_path=b"/page/../info")
        assert client.send(raw).status_code in (401, 404)


def test_cors(encoder: SparseEncoder, client: httpx.Client) -> None:
    page = {"Origin": "https://page.example"}
    asked = page | {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    options = ServerOptions(cors_origins=("https://page.example",), api_key="k")
    with running(encoder, options) as allowed:
        preflight = allowed.options("/v1/encode", headers=asked)
        assert preflight.status_code == 200, "a preflight has no key"
        assert preflight.headers["access-control-allow-origin"] == "https://page.example"
        answer = allowed.post("/v1/encode", json={"inputs": "a"}, headers=page | {"Authorization": "Bearer k"})
        assert answer.headers["access-control-allow-origin"] == "https://page.example"
        other = allowed.get("/health", headers={"Origin": "https://other.example"})
        assert "access-control-allow-origin" not in other.headers
    assert "access-control-allow-origin" not in client.get("/health", headers=page).headers


def test_compressed_bodies_are_refused_unread(client: httpx.Client) -> None:
    bomb = gzip.compress(b'{"inputs": "' + b"a" * 50_000_000 + b'"}')
    for encoding in ("gzip", "deflate, gzip", "br"):
        answer = client.post("/v1/encode", content=bomb, headers=JSON | {"Content-Encoding": encoding})
        assert answer.status_code == 415
        assert "send it uncompressed" in answer.json()["error"]


def test_large_bodies(encoder: SparseEncoder) -> None:
    with running(encoder, ServerOptions(max_body=1000)) as client:
        fits = b'{"inputs": "%s"}' % (b"a" * 900)
        assert client.post("/v1/encode", content=fits, headers=JSON).status_code == 200
        over = b'{"inputs": "%s"}' % (b"a" * 1000)
        for content in (over, iter([over[:600], over[600:]])):  # with a Content-Length, and in chunks
            answer = client.post("/v1/encode", content=content, headers=JSON)
            assert answer.status_code == 413
            assert set(answer.json()) == {"error", "error_type"}


def test_long_texts(encoder: SparseEncoder) -> None:
    with running(encoder, ServerOptions(max_text_length=100)) as client:
        assert client.post("/v1/encode", json={"inputs": "a" * 100}).status_code == 200
        answer = client.post("/v1/encode", json={"inputs": ["a", "a" * 101]})
        assert answer.status_code == 422
        assert "at most 100 characters. Given: 101" in answer.json()["error"]


def test_a_body_that_does_not_end(encoder: SparseEncoder) -> None:
    with running(encoder, ServerOptions(receive_timeout=0.3)) as client, connected(client) as connection:
        head = b"POST /v1/encode HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
        connection.sendall(head + b'{"inputs"')
        answer = everything(connection)
        assert answer.startswith(b"HTTP/1.1 408")
        assert b"did not arrive in 0.3 seconds" in answer
        assert client.post("/v1/encode", json={"inputs": "a"}).status_code == 200


def test_a_head_that_does_not_end(encoder: SparseEncoder) -> None:
    with running(encoder, protocol=ImpatientProtocol) as client:
        for sent in (b"", b"POST /v1/enc", b"GET /health HTTP/1.1\r\nHost: x\r\n"):
            with connected(client) as connection:
                connection.sendall(sent)
                started = time.perf_counter()
                assert everything(connection) == b""
                assert time.perf_counter() - started < 5
        with connected(client) as connection:  # drop by drop does not help
            try:
                for byte in b"GET /health HTTP/1.1\r\nHost: x\r\nA: " + b"b" * 100:
                    connection.sendall(bytes([byte]))
                    time.sleep(0.02)
            except (BrokenPipeError, ConnectionResetError):
                pass
            else:
                pytest.fail("the connection stayed open")
        with connected(client) as connection:  # the second request of a connection has its own time
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            assert connection.recv(65536).startswith(b"HTTP/1.1 200")
            time.sleep(0.5)
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            assert connection.recv(65536).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "sent",
    [
        b"\x00\x01\x02\x03\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /v1/encode HTTP/1.1\r\nHost: x\r\nContent-Length: abc\r\n\r\n",
        b"POST /v1/encode HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST /v1/encode HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /v1/encode HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nBad Header\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"b" * 100_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 20_000 + b"\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # a TLS greeting
    ],
)
def test_malformed_http_is_a_client_s_error(client: httpx.Client, sent: bytes) -> None:
    with connected(client) as connection:
        try:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError):
            pass
        answer = everything(connection)
        assert answer == b"" or answer.startswith(b"HTTP/1.1 4"), answer[:100]
    assert client.get("/health").status_code == 200


@pytest.mark.parametrize("path", ["/", "/health", "/health/ready", "/metrics"])
def test_probes_may_ask_without_the_body(client: httpx.Client, path: str) -> None:
    answer, whole = client.head(path), client.get(path)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers.get("content-type") == whole.headers.get("content-type")


def test_it_listens_on_loopback_unless_told_otherwise() -> None:
    help_text = CliRunner().invoke(main, ["serve", "--help"]).output
    assert "[default: 127.0.0.1]" in help_text


@pytest.mark.parametrize("workers", ["1", "2"])
def test_what_keeps_it_from_starting_is_one_line(client: httpx.Client, tiny_bundle: object, workers: str) -> None:
    port = str(urlsplit(str(client.base_url)).port)
    in_use = f"cannot listen on 127.0.0.1 port {port}: it is in use"
    for bundle, error in ((str(tiny_bundle), in_use), ("/nowhere", "/nowhere does not exist here")):
        command = [sys.executable, "-c", "from spladert.cli import main; main()", "serve", bundle]
        command += ["--port", port, "--workers", workers]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 1
        [line] = done.stderr.splitlines()
        assert line.startswith(f"error: {error}")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_wait_ms": -1}, "max_wait_ms is -1"),
        ({"max_queue": 0}, "max_queue is 0"),
        ({"max_queue": 10, "max_client_batch_size": 11}, "could never be taken"),
        ({"timeout": 0}, "timeout is 0"),
        ({"timeout": float("nan")}, "timeout is nan"),
        ({"drain_timeout": float("inf")}, "drain_timeout is inf"),
        ({"max_wait_ms": float("nan")}, "max_wait_ms is nan"),
        ({"cors_origins": ("example.org",)}, "the origin 'example.org' is none"),
        ({"api_key": ""}, "printable ASCII"),
        ({"api_key": "비밀"}, "printable ASCII"),
    ],
)
def test_options_that_cannot_be(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ServerOptions(**options)  # type: ignore[arg-type]


def test_without_the_extra_the_error_names_it() -> None:
    code = """
import sys
sys.modules["fastapi"] = None
from spladert.cli import main
main(["serve"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "pip install 'spladert[cpu,serve]'" in done.stderr
