"""A TCP proxy before a node, which holds answers back, refuses or drops connections as a test says."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field


@dataclass
class Proxy:
    """
    Attributes:
        port: where it listens on 127.0.0.1.
        path: what the requests have in their first line that the following is about; bulk requests, unless changed.
        refusals: statuses that the next such requests are answered with, first first, instead of reaching the node.
        delays: seconds that the next answers to such requests are held back, one an answer, first first.
        drops: how many of the next answers to such requests are dropped with their connection.
    """

    target: tuple[str, int]
    port: int = 0
    delays: list[float] = field(default_factory=list)
    drops: int = 0
    path: bytes = b"/_bulk"
    refusals: list[int] = field(default_factory=list)

    def serve(self, connection: socket.socket) -> None:
        with connection, socket.create_connection(self.target) as node, suppress(OSError):
            while request := _message(connection):
                meant = self.path in request.partition(b"\r\n")[0]
                if meant and self.refusals:
                    connection.sendall(b"HTTP/1.1 %d Not now\r\nContent-Length: 0\r\n\r\n" % self.refusals.pop(0))
                    continue
                node.sendall(request)
                answer = _message(node, body=not request.startswith(b"HEAD "))
                if meant:
                    if self.drops:
                        self.drops -= 1
                        return
                    if self.delays:
                        time.sleep(self.delays.pop(0))
                connection.sendall(answer)


def _message(connection: socket.socket, *, body: bool = True) -> bytes:
    """One HTTP message with a Content-Length, or none if the other side has gone; an answer to HEAD has no body."""
    data = b""
    while b"\r\n\r\n" not in data:
        part = connection.recv(65536)
        if not part:
            return b""
        data += part
    head = data.partition(b"\r\n\r\n")[0]
    lengths = [line.partition(b":")[2] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")]
    size = len(head) + 4 + (int(lengths[0]) if lengths and body else 0)
    while len(data) < size:
        data += connection.recv(65536)
    return data


@contextmanager
def proxy_to(address: str) -> Iterator[Proxy]:
    host, _, port = address.partition(":")
    proxy = Proxy((host, int(port)))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        proxy.port = listener.getsockname()[1]

        def accept() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    threading.Thread(target=proxy.serve, args=[connection], daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield proxy
        listener.shutdown(socket.SHUT_RDWR)
