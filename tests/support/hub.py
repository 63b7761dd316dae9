"""A hub on this machine: the endpoints that huggingface_hub needs to download files, and what can go wrong there."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, Literal

REPOSITORY = "someone/some-bundle"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
Fault = Literal["login page", "cut body", "redirect loop", "server error"]


@dataclass
class Hub:
    """A server of one repository.

    Attributes:
        url: for HF_ENDPOINT.
        fetched: the files that were sent, in order.
        fault: what goes wrong with every answer.
    """

    folder: Path
    url: str = ""
    fetched: list[str] = field(default_factory=list)
    fault: Fault | None = None


@contextmanager
def serving(folder: Path) -> Iterator[Hub]:
    """A hub whose repository `REPOSITORY` holds the files of a folder, at "main" and at `COMMIT`."""
    hub = Hub(folder)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def do_HEAD(self) -> None:
            self._answer()

        def do_GET(self) -> None:
            self._answer()

        def _answer(self) -> None:
            if hub.fault == "redirect loop":
                return self._send(302, b"", {"Location": f"{hub.url}{self.path}"})
            if hub.fault == "login page":
                return self._send(200, b"<html>Welcome to our network</html>", {"Content-Type": "text/html"})
            if hub.fault == "server error":
                return self._send(500, b"")
            head, _, name = self.path.partition("?")[0].rpartition("/")
            revisions = [f"/{REPOSITORY}/resolve/{revision}" for revision in ("main", COMMIT)]
            if head not in revisions:
                return self._send(404, b"", {"X-Error-Code": "RepoNotFound"})
            path = hub.folder / name
            if not path.is_file():
                return self._send(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})
            content = path.read_bytes()
            if self.command == "GET":
                hub.fetched.append(name)
            self._send(200, content, {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": COMMIT})

        def _send(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for header, value in (headers or {}).items():
                self.send_header(header, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command == "GET":
                cut = hub.fault == "cut body"
                self.wfile.write(content[: len(content) // 2] if cut else content)
                self.close_connection = cut

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
