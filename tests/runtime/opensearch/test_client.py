"""How a cluster is reached: URLs, TLS behind a real TLS end, logins and signed requests."""

from __future__ import annotations

import base64
import logging
import shutil
import ssl
import subprocess
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import urllib3

from spladert.errors import InputError, StoreError
from spladert.opensearch.client import connect, explained
from spladert.stores import Connection, StoreUrl, parse_store_url


@dataclass
class Server:
    """An HTTP server that keeps what it was asked and answers as it is told."""

    status: int = 200
    requests: list[Any] = field(default_factory=list)
    port: int = 0


@pytest.fixture
def server() -> Iterator[Server]:
    yield from serving(None)


def serving(context: ssl.SSLContext | None) -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            state.requests.append((self.command, self.path, headers, body))
            answer = b'{"count": 3, "version": {"number": "3.6.0", "distribution": "opensearch"}}'
            self.send_response(state.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_PUT = do_POST  # noqa: N815 - the names of the base class

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        if context is not None:
            http.socket = context.wrap_socket(http.socket, server_side=True)
        state.port = http.server_address[1]
        thread = threading.Thread(target=http.serve_forever, daemon=True)
        thread.start()
        yield state
        http.shutdown()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CA, a server's certificate for localhost, and a client's."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificates")
    folder = tmp_path_factory.mktemp("certificates")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    new = ["req", "-newkey", "rsa:2048", "-nodes", "-subj"]
    openssl(*new, "/CN=test CA", "-x509", "-keyout", "ca.key", "-out", "ca.pem", "-days", "2")
    (folder / "names").write_text("subjectAltName=DNS:localhost\n")
    for name in ("server", "client"):
        openssl(*new, f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        openssl(
            *["x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"],
            *["-extfile", "names", "-out", f"{name}.pem", "-days", "2"],
        )
    return folder


@pytest.fixture
def tls_server(certificates: Path) -> Iterator[Server]:
    """A server that asks for a client's certificate."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(certificates / "ca.pem"))
    context.load_cert_chain(certificates / "server.pem", certificates / "server.key")
    context.verify_mode = ssl.CERT_REQUIRED
    yield from serving(context)


def url_of(server: Server, scheme: str = "opensearch") -> StoreUrl:
    return parse_store_url(f"{scheme}://localhost:{server.port}/docs")


def count(url: StoreUrl, connection: Connection, environment: dict[str, str] | None = None) -> int:
    client = connect(url, connection, environment if environment is not None else {"NETRC": "/nowhere"})
    with explained(url):
        return int(client.count(index=url.name)["count"])


def test_a_url_is_read_whole() -> None:
    url = parse_store_url("opensearch+https://host.example/my%20docs?field=s&kind=sparse_vector")
    assert (url.tls, url.host, url.port, url.name) == (True, "host.example", 9200, "my docs")
    assert url.options == {"field": "s", "kind": "sparse_vector"}
    assert str(url) == "opensearch+https://host.example:9200/my docs"
    assert str(parse_store_url("opensearch://[::1]:9/a")) == "opensearch://[::1]:9/a"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("redis://h/a", "no store that is known here"),
        ("opensearch+ftp://h/a", "no store that is known here"),
        ("opensearch://h", "names no index"),
        ("opensearch:///a", "names no index"),
        ("opensearch://h/a/b", "names no index"),
        ("opensearch://h:port/a", "cannot be read"),
        ("opensearch://me:secret@h/a", "set OPENSEARCH_USERNAME and OPENSEARCH_PASSWORD"),
    ],
)
def test_a_url_that_cannot_be_taken_is_refused(url: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as raised:
        parse_store_url(url)
    assert "secret" not in str(raised.value)


def test_tls_with_a_ca_and_a_clients_certificate(tls_server: Server, certificates: Path) -> None:
    url = url_of(tls_server, "opensearch+https")
    own = {"client_cert": certificates / "client.pem", "client_key": certificates / "client.key"}
    assert count(url, Connection(ca=certificates / "ca.pem", **own)) == 3
    with pytest.raises(StoreError, match="--ca"):
        count(url, Connection(**own))  # the system does not know this CA
    with pytest.raises(StoreError):
        count(url, Connection(ca=certificates / "ca.pem"))  # and the server wants to know who asks
    by_address = parse_store_url(f"opensearch+https://127.0.0.1:{tls_server.port}/docs")
    with pytest.raises(StoreError, match="TLS fails"):
        count(by_address, Connection(ca=certificates / "ca.pem", **own))  # it is localhost's certificate


def test_insecure_is_said_loudly(tls_server: Server, certificates: Path, caplog: pytest.LogCaptureFixture) -> None:
    own = {"client_cert": certificates / "client.pem", "client_key": certificates / "client.key"}
    with caplog.at_level(logging.WARNING), warnings.catch_warnings(record=True) as others:
        warnings.simplefilter("always")
        assert count(url_of(tls_server, "opensearch+https"), Connection(insecure=True, **own)) == 3
        assert others == []  # urllib3 has its own, of which this host's is left out
        shown = {"cert_file": str(own["client_cert"]), "key_file": str(own["client_key"])}
        with urllib3.PoolManager(cert_reqs="CERT_NONE", **shown) as pool:
            pool.request("GET", f"https://127.0.0.1:{tls_server.port}/")
        assert [each.category for each in others] == [urllib3.exceptions.InsecureRequestWarning]
    assert caplog.text.count("the certificate is NOT checked") == 1


def test_what_is_for_tls_needs_it(certificates: Path) -> None:
    plain, secure = parse_store_url("opensearch://h/a"), parse_store_url("opensearch+https://h/a")
    for url, connection, message in [
        (plain, Connection(insecure=True), r"--insecure is for TLS.*opensearch\+https"),
        (plain, Connection(ca=certificates / "ca.pem"), "--ca is for TLS"),
        (secure, Connection(ca=certificates / "none.pem"), "is not a file"),
        (secure, Connection(client_cert=certificates / "client.pem"), "belong together"),
        (secure, Connection(aws="s3"), "choose es .* aoss"),
    ]:
        with pytest.raises(InputError, match=message):
            connect(url, connection, {})


def test_a_login_comes_from_the_environment_or_a_netrc(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine localhost login reader password from-netrc\n")
    netrc.chmod(0o600)
    logins = [
        ({"OPENSEARCH_USERNAME": "me", "OPENSEARCH_PASSWORD": "s3cret"}, "me:s3cret"),
        ({"NETRC": str(netrc)}, "reader:from-netrc"),
    ]
    with caplog.at_level(logging.DEBUG):
        for environment, expected in logins:
            count(url_of(server), Connection(), environment)
            sent = server.requests[-1][2]["authorization"]
            assert base64.b64decode(sent.removeprefix("Basic ")).decode() == expected
            server.status = 401
            with pytest.raises(StoreError, match="asks for a login") as raised:
                count(url_of(server), Connection(), environment)
            server.status = 200
            password = expected.partition(":")[2]
            assert password not in str(raised.value)
            assert password not in caplog.text
            assert sent not in caplog.text
    count(url_of(server), Connection())
    assert "authorization" not in server.requests[-1][2]
    with pytest.raises(InputError, match="belong together"):
        connect(url_of(server), Connection(), {"OPENSEARCH_USERNAME": "me"})
    netrc.write_text("machine localhost login reader pass hidden-word\n")
    with pytest.raises(InputError, match="line") as raised:
        connect(url_of(server), Connection(), {"NETRC": str(netrc)})
    assert "hidden-word" not in str(raised.value)


@pytest.mark.parametrize("service", ["es", "aoss"])
def test_a_signed_request_is_what_botocore_signs(server: Server, monkeypatch: pytest.MonkeyPatch, service: str) -> None:
    """The request as it arrives, signed once more by botocore with the time it carries."""
    pytest.importorskip("boto3", reason="signed requests need boto3")
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    class AtTheSameTime(SigV4Auth):
        def __init__(self, timestamp: str) -> None:
            super().__init__(Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI", "token"), service, "ap-northeast-2")
            self.timestamp = timestamp

        def sign(self, request: Any) -> str:
            request.context["timestamp"] = self.timestamp
            canonical = self.canonical_request(request)
            return str(self.signature(self.string_to_sign(request, canonical), request))

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    monkeypatch.setenv("AWS_REGION", "ap-northeast-2")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "ap-northeast-2")
    url = url_of(server)
    client = connect(url, Connection(aws=service), {})
    client.bulk(body='{"index":{"_id":"가"}}\n{"text":"나"}\n'.encode(), index=url.name)
    method, path, headers, body = server.requests[-1]
    authorization = headers["authorization"]
    assert f"Credential=AKIDEXAMPLE/{headers['x-amz-date'][:8]}/ap-northeast-2/{service}/aws4_request" in authorization
    names = authorization.partition("SignedHeaders=")[2].partition(",")[0].split(";")
    assert {"host", "x-amz-date", "x-amz-security-token", "x-amz-content-sha256"} <= set(names)
    request = AWSRequest(
        method, f"http://localhost:{server.port}{path}", headers={name: headers[name] for name in names}, data=body
    )
    assert authorization.endswith(f"Signature={AtTheSameTime(headers['x-amz-date']).sign(request)}")
    assert "wJalrXUtnFEMI" not in str(headers)
