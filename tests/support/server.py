"""Servers for tests: in a thread over any engine, or as the command in a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx
import uvicorn

from spladert import SparseEncoder
from spladert.engine import Engine
from spladert.serve import ServerOptions, create_app
from spladert.serve.protocol import GuardedProtocol

if TYPE_CHECKING:
    from spladert.engine.base import TopK


class GatedEngine:
    """An engine that runs a batch only while its gate is open, and keeps what it ran."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.limits, self.providers = engine, engine.limits, engine.providers
        self.gate = threading.Event()
        self.batches: list[list[list[int]]] = []
        self.error: Exception | None = None
        self.gate.set()

    def run(self, rows: Sequence[Sequence[int]]) -> TopK:
        self.batches.append([list(row) for row in rows])
        assert self.gate.wait(30)
        if self.error is not None:
            raise self.error
        return self.engine.run(rows)

    def close(self) -> None:
        self.engine.close()


def gated(encoder: SparseEncoder) -> tuple[SparseEncoder, GatedEngine]:
    """The encoder over a gated engine."""
    engine = GatedEngine(encoder.engine)
    return SparseEncoder(encoder.bundle, encoder.placement, engine, encoder.options), engine


@contextmanager
def running(
    encoder: SparseEncoder,
    options: ServerOptions | None = None,
    protocol: type[GuardedProtocol] = GuardedProtocol,
    port: int = 0,
) -> Iterator[httpx.Client]:
    """A client of a server in a thread, on a free port unless one is given."""
    config = uvicorn.Config(create_app(encoder, options), port=port, http=protocol, ws="none", log_level="warning")
    server = uvicorn.Server(config)
    socket = config.bind_socket()
    thread = threading.Thread(target=server.run, args=([socket],))
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            time.sleep(0.01)
        with httpx.Client(base_url=f"http://127.0.0.1:{socket.getsockname()[1]}", timeout=60) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def spawned(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`spladert serve` on a free port: its process and URL, once it is ready; ended by SIGTERM if it still runs."""
    command = [sys.executable, "-c", "from spladert.cli import main; main()", "serve", "--port", "0", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "NO_COLOR": "1"}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=environment)
    assert process.stderr is not None
    lines: list[str] = []
    url = ""
    for line in process.stderr:
        lines.append(line)
        if found := re.search(r"running on (http://\S+)", line):
            url = found[1]
            break
    assert url, f"the server did not start: {''.join(lines)}"
    rest = threading.Thread(target=lines.extend, args=(process.stderr,))  # so that its pipe does not fill
    rest.start()
    process.log = lines  # type: ignore[attr-defined]
    try:
        for _ in range(600):
            try:
                if httpx.get(f"{url}/health/ready").status_code == 200:
                    break
            except httpx.TransportError:
                pass
            assert process.poll() is None, "".join(lines)
            time.sleep(0.05)
        yield process, url
    finally:
        process.terminate()
        process.wait(60)
        rest.join()
