"""A real OpenSearch node, started by its launcher: for tests and benchmarks."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

START_SECONDS = 180
# A small heap is often nearly full of what is garbage, and two circuit breakers would refuse requests for it by chance.
STEADY = ["-Eindices.breaker.total.use_real_memory=false", "-Eplugins.ml_commons.jvm_heap_memory_threshold=100"]


@dataclass
class Node:
    """A node that was started here.

    Attributes:
        launcher: the shared launcher.
        data: its data folder, which outlives it.
        port: of HTTP on 127.0.0.1.
        settings: further arguments of the launcher.
        log: file of its output.
        jvm: process id of its JVM, which the launcher may be a parent of.
    """

    launcher: Path
    data: Path
    port: int
    settings: tuple[str, ...]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    jvm: int = 0

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [self.launcher, "--port", str(self.port), "--data", self.data, *STEADY, *self.settings],
                stdout=log,
                stderr=log,
                env={"OPENSEARCH_HEAP": "1500m", **os.environ},
            )
        end = time.monotonic() + START_SECONDS
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"the node did not start: {self.log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.2)
        self.jvm = self._jvm()

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://{self.address}/_cluster/health?wait_for_status=yellow", timeout=5):
                return True
        except (urllib.error.URLError, OSError):
            return False

    def _jvm(self) -> int:
        with urllib.request.urlopen(f"http://{self.address}/_nodes/process", timeout=60) as answer:
            (node,) = json.load(answer)["nodes"].values()
        return int(node["process"]["id"])

    def kill(self) -> None:
        """SIGKILL, as if the power went."""
        assert self.process is not None
        os.kill(self.jvm, signal.SIGKILL)
        self.process.wait(30)

    def stop(self) -> None:
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.kill()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def running_node(launcher: Path, settings: Sequence[str] = ()) -> Iterator[Node]:
    with TemporaryDirectory(prefix="opensearch-test-") as name:
        folder = Path(name)
        folder.chmod(0o711)  # the launcher gives up root, and has to reach its data
        node = Node(launcher, folder / "data", free_port(), tuple(settings), folder / "node.log")
        try:
            node.start()
            yield node
        finally:
            node.stop()


def client_of(address: str) -> Any:
    from opensearchpy import OpenSearch

    return OpenSearch(f"http://{address}", timeout=120)
