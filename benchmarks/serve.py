"""What the server adds to a call of the library, and what it holds under load; the client is a process of its own.

    python -m benchmarks.serve latency [--bundle B] [--requests 1000]
    python -m benchmarks.serve load [--bundle B] [--seconds 20] [--texts 16] [--queue 64]
    python -m benchmarks.serve memory [--requests 100000]

`latency` compares one text alone, over a connection that is kept open, with the library's call in another process and
with an endpoint that does nothing, in turns. `load` finds the throughput at saturation (server and library each on one
core, the client on the other), then sends 0.8 and 10 times as much at fixed times and checks every answer.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import math
import os
import random
import re
import socket
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count, islice
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import orjson

from spladert import SparseEncoder

QUERY = "당뇨병 치료 방법"
ROUNDS = 10

LIBRARY = """
import json, sys, time
from spladert import SparseEncoder
encoder = SparseEncoder.load(sys.argv[1] or None, threads=int(sys.argv[2]), spin=False)
encode = encoder.encode_query if sys.argv[3] == "query" else encoder.encode_document
encode("warm")
print("ready", flush=True)
for line in sys.stdin:
    texts, repeat = json.loads(line)
    times = []
    for _ in range(repeat):
        started = time.perf_counter()
        encode(texts)
        times.append(time.perf_counter() - started)
    print(json.dumps(times), flush=True)
"""


def pinned(command: Sequence[str], core: int | None) -> list[str]:
    return [*(["taskset", "-c", str(core)] if core is not None else []), *command]


class Library:
    """The library in a process of its own, timing its calls."""

    def __init__(self, bundle: str, threads: int, side: str, core: int | None = None) -> None:
        command = [sys.executable, "-c", LIBRARY, bundle, str(threads), side]
        self._process = subprocess.Popen(
            pinned(command, core), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self.process = self._process.pid
        self._in, self._out = self._process.stdin, self._process.stdout
        assert self._out.readline() == "ready\n"

    def times(self, texts: str | list[str], repeat: int) -> list[float]:
        self._in.write(json.dumps([texts, repeat]) + "\n")
        self._in.flush()
        times: list[float] = json.loads(self._out.readline())
        return times

    def close(self) -> None:
        self._in.close()
        self._process.wait()


@contextmanager
def server(bundle: str, *options: str, core: int | None = None) -> Iterator[tuple[str, int, int]]:
    """Host, port and process id of `spladert serve`."""
    code = "from spladert.cli import main; main()"
    command = [sys.executable, "-c", code, "serve", *filter(None, [bundle]), "--port", "0", "--no-spin", *options]
    process = subprocess.Popen(pinned(command, core), stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        found = None
        for line in process.stderr:
            found = found or re.search(r"running on (http://\S+)", line)
            if "startup complete" in line:
                break
        assert found, "the server did not start"
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


def latency(bundle: str, requests: int, threads: int, side: str) -> None:
    library = Library(bundle, threads, side)
    body = json.dumps({"inputs": QUERY, "side": side}).encode()
    times: dict[str, list[float]] = {"library": [], "nothing": [], "encode": [], "embed_sparse": []}
    with server(bundle, "--threads", str(threads)) as (host, port, _):
        connection = http.client.HTTPConnection(host, port)
        connection.connect()
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def ask(method: str, path: str, content: bytes | None) -> float:
            started = time.perf_counter()
            connection.request(method, path, content, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 200
            return time.perf_counter() - started

        for _ in range(100):
            ask("POST", "/v1/encode", body)
        tei = json.dumps({"inputs": QUERY} | ({"prompt_name": "query"} if side == "query" else {})).encode()
        for _ in range(ROUNDS):
            repeat = requests // ROUNDS
            times["library"] += library.times(QUERY, repeat)
            times["nothing"] += [ask("GET", "/health/live", None) for _ in range(repeat)]
            times["encode"] += [ask("POST", "/v1/encode", body) for _ in range(repeat)]
            times["embed_sparse"] += [ask("POST", "/embed_sparse", tei) for _ in range(repeat)]
    library.close()
    medians = {name: statistics.median(values) * 1000 for name, values in times.items()}
    for name, values in times.items():
        p99 = sorted(values)[int(0.99 * len(values))] * 1000
        print(f"{name:13} median {medians[name]:7.3f} ms   p99 {p99:7.3f} ms   of {len(values)}")
    for name in ("encode", "embed_sparse"):
        over = medians[name] - medians["nothing"] - medians["library"]
        print(f"{name} over the library's call and the client's own time: {over:.3f} ms")


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
    """Requests of texts whose vectors are known."""

    def __init__(self, url: str, texts: Sequence[str], expected: Sequence[list[int]], each: int) -> None:
        self._url, self._expected = url, expected
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
            got = [vector["indices"] for vector in orjson.loads(content)]
            outcome.wrong += got != [self._expected[i] for i in positions]

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
    path = Path(os.environ.get("SPLADERT_SHARED", Path(__file__).parents[2] / "shared")) / "data" / "sentences.txt"
    if not path.is_file():
        raise SystemExit(f"{path} is not there; set SPLADERT_SHARED to the folder of shared data")
    with path.open(encoding="utf-8") as lines:
        texts = [line.rstrip("\n") for line in islice(lines, number)]
    with SparseEncoder.load(bundle or None, threads=1, spin=False) as encoder:
        return texts, [vector.indices.tolist() for vector in encoder.encode_document(texts)]


def load(bundle: str, seconds: float, each: int, queue: int) -> None:
    os.sched_setaffinity(0, {1})
    connections = max(queue // each, 1)  # as many as are never refused
    texts, expected = known_texts(bundle, 2048)
    library = Library(bundle, 1, "document", core=0)
    options = ("--threads", "1", "--max-queue", str(queue), "--max-client-batch-size", str(min(queue, 128)))
    with server(bundle, *options, core=0) as (host, port, process):
        requests = Load(f"http://{host}:{port}/v1/encode", texts, expected, each)
        asyncio.run(requests.closed(connections, seconds=2))
        ratios, rates, work = [], [], []
        for _ in range(5):
            before = cpu_seconds(library.process)
            alone = len(texts) / library.times(texts, 1)[0]
            own, before = (cpu_seconds(library.process) - before) / len(texts), cpu_seconds(process)
            outcome = asyncio.run(requests.closed(connections, seconds=seconds / 5))
            assert set(outcome.statuses) == {200}, outcome.statuses
            rates.append(outcome.texts / outcome.elapsed)
            ratios.append(rates[-1] / alone)
            work.append(own / ((cpu_seconds(process) - before) / outcome.texts))
        capacity = statistics.median(rates) / each
        print(
            f"saturated: {statistics.median(rates):.0f} texts/s, of the library's: "
            f"{statistics.median(ratios):.0%} (rounds {', '.join(f'{r:.0%}' for r in ratios)}); "
            f"by processor time, which other work changes less: {statistics.median(work):.0%}"
        )
        memory_before = resident(process)
        calm = asyncio.run(requests.open(0.8 * capacity, seconds))
        print(f"at 0.8 of it:  {calm}")
        flood = asyncio.run(requests.open(10 * capacity, seconds))
        print(f"at 10 times:   {flood}")
        after = asyncio.run(requests.open(0.8 * capacity, seconds))
        print(f"0.8 once more: {after}")
        ratio = flood.p99 / statistics.median([calm.p99, after.p99])
        print(f"p99 of the accepted at 10 times, to that at 0.8: {ratio:.2f}")
        print(f"memory of the server: {memory_before:.0f} MB before, {resident(process):.0f} MB after")
    library.close()


def memory(bundle: str, requests: int) -> None:
    texts, expected = known_texts(bundle, 2048)
    with server(bundle, "--threads", "1") as (host, port, process):
        sender = Load(f"http://{host}:{port}/v1/encode", texts, expected, 1)
        for part in range(10):
            outcome = asyncio.run(sender.closed(32, requests=requests // 10))
            print(f"{(part + 1) * requests // 10:7} requests: {resident(process):.1f} MB   {outcome}", flush=True)


def cpu_seconds(process: int) -> float:
    """Seconds of processor time that a process has used."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident(process: int) -> float:
    """Megabytes of a process's memory."""
    [line] = [line for line in Path(f"/proc/{process}/status").read_text().splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["latency", "load", "memory"])
    parser.add_argument("--bundle", default="", help="folder; default: the one that comes with the package")
    parser.add_argument("--requests", type=int, help="default: 1000, of memory 100000")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--side", choices=["query", "document"], default="document")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--texts", type=int, default=16, help="of a request")
    parser.add_argument("--queue", type=int, default=64)
    arguments = parser.parse_args()
    if arguments.what == "latency":
        latency(arguments.bundle, arguments.requests or 1000, arguments.threads, arguments.side)
    elif arguments.what == "load":
        load(arguments.bundle, arguments.seconds, arguments.texts, arguments.queue)
    else:
        memory(arguments.bundle, arguments.requests or 100_000)


if __name__ == "__main__":
    main()
