"""What the server adds to a call of the library, and what it holds under load; the client is a process of its own.

    python -m benchmarks.serve latency [--bundle B] [--requests 1000]
    python -m benchmarks.serve load [--bundle B] [--seconds 20] [--texts 16] [--queue 64]
    python -m benchmarks.serve memory [--requests 100000]
    python -m benchmarks.serve peers --peers-python .venv-peers/bin/python [--seconds 100] [--texts 16]

`latency` compares one text alone, over a connection that is kept open, with the library's call in another process and
with an endpoint that does nothing, in turns. `load` finds the throughput at saturation (server and library each on one
core, the client on the other), then sends 0.8 and 10 times as much at fixed times and checks every answer. `peers` puts
sentence-transformers (PyTorch, and its own int8 for ONNX Runtime) and fastembed behind FastAPI, each on the same core,
and asks them and `spladert serve` in turns, one text alone and as many as they can take. Their environment:

    python3 -m venv .venv-peers && .venv-peers/bin/pip install torch==2.13.0 -e '.[cpu,serve,peers]'

No others: infinity has no sparse vectors, and OpenVINO Model Server is no Python package.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from benchmarks.suite.http_load import QUERY, Client, Load, known_texts, pinned, server
from benchmarks.suite.usage import cpu_seconds, resident

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


def latency(bundle: str, requests: int, threads: int, side: str) -> None:
    library = Library(bundle, threads, side)
    body = {"inputs": QUERY, "side": side}
    times: dict[str, list[float]] = {"library": [], "nothing": [], "encode": [], "embed_sparse": []}
    with server(bundle, "--threads", str(threads)) as (host, port, _):
        client = Client(host, port)
        for _ in range(100):
            client.ask("POST", "/v1/encode", body)
        tei = {"inputs": QUERY} | ({"prompt_name": "query"} if side == "query" else {})
        for _ in range(ROUNDS):
            repeat = requests // ROUNDS
            times["library"] += library.times(QUERY, repeat)
            times["nothing"] += [client.ask("GET", "/health/live") for _ in range(repeat)]
            times["encode"] += [client.ask("POST", "/v1/encode", body) for _ in range(repeat)]
            times["embed_sparse"] += [client.ask("POST", "/embed_sparse", tei) for _ in range(repeat)]
        client.close()
    library.close()
    medians = {name: statistics.median(values) * 1000 for name, values in times.items()}
    for name, values in times.items():
        p99 = sorted(values)[int(0.99 * len(values))] * 1000
        print(f"{name:13} median {medians[name]:7.3f} ms   p99 {p99:7.3f} ms   of {len(values)}")
    for name in ("encode", "embed_sparse"):
        over = medians[name] - medians["nothing"] - medians["library"]
        print(f"{name} over the library's call and the client's own time: {over:.3f} ms")


def load(bundle: str, seconds: float, each: int, queue: int) -> None:
    os.sched_setaffinity(0, {1})
    connections = max(queue // each, 1)  # as many as are never refused
    texts, expected = known_texts(bundle, 2048)
    library = Library(bundle, 1, "document", core=0)
    options = ("--threads", "1", "--max-queue", str(queue), "--max-client-batch-size", str(min(queue, 128)))
    with server(bundle, *options, core=0) as (host, port, process):
        requests = Load(f"http://{host}:{port}", texts, expected, each)
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
        sender = Load(f"http://{host}:{port}", texts, expected, 1)
        for part in range(10):
            outcome = asyncio.run(sender.closed(32, requests=requests // 10))
            print(f"{(part + 1) * requests // 10:7} requests: {resident(process):.1f} MB   {outcome}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["latency", "load", "memory", "peers"])
    parser.add_argument("--bundle", default="", help="folder; default: the one that comes with the package")
    parser.add_argument("--requests", type=int, help="default: 1000, of memory 100000")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--side", choices=["query", "document"], default="document")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--texts", type=int, default=16, help="of a request")
    parser.add_argument("--queue", type=int, default=64)
    parser.add_argument("--peers-python", help="of the environment of the peers")
    parser.add_argument("--work", type=Path, default=Path("peers"), help="folder for the peers' models")
    arguments = parser.parse_args()
    if arguments.what == "latency":
        latency(arguments.bundle, arguments.requests or 1000, arguments.threads, arguments.side)
    elif arguments.what == "load":
        load(arguments.bundle, arguments.seconds, arguments.texts, arguments.queue)
    elif arguments.what == "peers":
        from benchmarks.suite.serve_peers import compare_peers

        if arguments.peers_python is None:
            parser.error("peers needs --peers-python")
        compare_peers(
            arguments.peers_python,
            arguments.work.absolute(),
            arguments.requests or 1000,
            arguments.seconds,
            arguments.texts,
            arguments.queue,
        )
    else:
        memory(arguments.bundle, arguments.requests or 100_000)


if __name__ == "__main__":
    main()
