"""A server in a process of its own, and requests to it: one by one, as many as it takes, or at fixed times."""

from __future__ import annotations

import asyncio
import http.client
import json
import math
import os
import random
import re
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from itertools import count, islice
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import orjson

from spladert import SparseEncoder

QUERY = "당뇨병 치료 방법"


def pinned(command: Sequence[str], core: int | None) -> list[str]:
    return [*(["taskset", "-c", str(core)] if core is not None else []), *command]


def server(bundle: str, *options: str, core: int | None = None) -> AbstractContextManager[tuple[str, int, int]]:
    """Host, port and process id of `spladert serve`."""
    code = "from spladert.cli import main; main()"
    command = [sys.executable, "-c", code, "serve", *filter(None, [bundle]), "--port", "0", "--no-spin", *options]
    return started(command, core=core)


@contextmanager
def started(
    command: Sequence[str],
    *,
    core: int | None = None,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[tuple[str, int, int]]:
    """Host, port and process id of a server on uvicorn."""
    process = subprocess.Popen(pinned(command, core), stderr=subprocess.PIPE, text=True, cwd=folder, env=environment)
    assert process.stderr is not None
    try:
        found, complete, said = None, False, []
        for line in process.stderr:
            said.append(line)
            found = found or re.search(r"running on (http://\S+)", line)
            complete = complete or "startup complete" in line
            if found and complete:
                break
        assert found, f"the server did not start: {''.join(said[-5:])}"
        url = urlsplit(found[1])
        assert url.hostname
        assert url.port
        while not answers(url.hostname, url.port):  # it listens a moment after it has said so
            time.sleep(0.05)
        yield url.hostname, url.port, process.pid
    finally:
        process.terminate()
        process.wait()


def answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port)).close()
    except ConnectionRefusedError:
        return False
    return True


class Client:
    """One connection that is kept open."""

    def __init__(self, host: str, port: int) -> None:
        self._connection = http.client.HTTPConnection(host, port)
        self._connection.connect()
        self._connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, method: str, path: str, content: Mapping[str, object] | None = None) -> float:
        """The seconds until the answer is there."""
        body = None if content is None else json.dumps(content).encode()
        started = time.perf_counter()
        self._connection.request(method, path, body, {"Content-Type": "application/json"})
        answer = self._connection.getresponse()
        answer.read()
        assert answer.status == 200, answer.status
        return time.perf_counter() - started

    def close(self) -> None:
        self._connection.close()


@dataclass
class Outcome:
    """What came of requests: seconds of the accepted ones, their texts, and how often each status came."""

    seconds: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    texts: int = 0
    wrong: int = 0
    elapsed: float = 0.0

    def __str__(self) -> str:
        times = sorted(self.seconds)
        p50, p99 = times[len(times) // 2] * 1000, times[int(0.99 * len(times))] * 1000
        return (
            f"{sum(self.statuses.values()) / self.elapsed:7.0f} requests/s, {self.texts / self.elapsed:6.0f} texts/s "
            f"answered, p50 {p50:6.1f} ms, p99 {p99:6.1f} ms, statuses {dict(self.statuses)}, wrong {self.wrong}"
        )

    @property
    def p99(self) -> float:
        return sorted(self.seconds)[int(0.99 * len(self.seconds))]


class Load:
    """Requests of texts whose vectors are known, to a server's address."""

    path = "/v1/encode"

    def __init__(self, server: str, texts: Sequence[str], expected: Sequence[list[int]], each: int) -> None:
        self._url, self.expected = f"{server}{self.path}", expected
        starts = range(0, len(texts) - each + 1, each)
        self._requests = [(range(at, at + each), orjson.dumps({"inputs": texts[at : at + each]})) for at in starts]

    async def _ask(self, session: aiohttp.ClientSession, number: int, outcome: Outcome) -> None:
        positions, body = self._requests[number % len(self._requests)]
        started = time.perf_counter()
        async with session.post(self._url, data=body, headers={"Content-Type": "application/json"}) as answer:
            content = await answer.read()
        outcome.statuses[answer.status] += 1
        if answer.status == 200:
            outcome.seconds.append(time.perf_counter() - started)
            outcome.texts += len(positions)
            outcome.wrong += self.is_wrong(orjson.loads(content), positions)

    def is_wrong(self, content: Any, positions: Sequence[int]) -> bool:
        return [vector["indices"] for vector in content] != [self.expected[i] for i in positions]

    async def closed(self, connections: int, *, seconds: float = math.inf, requests: float = math.inf) -> Outcome:
        """Each connection sends its next request when it has the answer."""
        outcome, numbers, started = Outcome(), count(), time.perf_counter()

        async def one(session: aiohttp.ClientSession) -> None:
            while time.perf_counter() - started < seconds and (number := next(numbers)) < requests:
                await self._ask(session, number, outcome)

        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            await asyncio.gather(*(one(session) for _ in range(connections)))
        outcome.elapsed = time.perf_counter() - started
        return outcome

    async def open(self, rate: float, seconds: float) -> Outcome:
        """`rate` requests a second at random times, whatever comes of them."""
        outcome, rng, started, at = Outcome(), random.Random(0), time.perf_counter(), 0.0
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as session, asyncio.TaskGroup() as group:
            for number in count():
                at += rng.expovariate(rate)
                if at > seconds:
                    break
                await asyncio.sleep(max(started + at - time.perf_counter(), 0))
                group.create_task(self._ask(session, number, outcome))
        outcome.elapsed = time.perf_counter() - started
        return outcome


def known_texts(bundle: str, number: int) -> tuple[list[str], list[list[int]]]:
    """Sentences and the ids of their vectors."""
    path = Path(os.environ.get("SPLADERT_SHARED", Path(__file__).parents[3] / "shared")) / "data" / "sentences.txt"
    if not path.is_file():
        raise SystemExit(f"{path} is not there; set SPLADERT_SHARED to the folder of shared data")
    with path.open(encoding="utf-8") as lines:
        texts = [line.rstrip("\n") for line in islice(lines, number)]
    with SparseEncoder.load(bundle or None, threads=1, spin=False) as encoder:
        return texts, [vector.indices.tolist() for vector in encoder.encode_document(texts)]
