"""`spladert serve` beside peers behind FastAPI: the same endpoint, texts, core and client, in turns."""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.suite.checkpoint import portable
from benchmarks.suite.http_load import QUERY, Client, Load, known_texts, server, started
from benchmarks.suite.processes import ROOT, environment
from benchmarks.suite.usage import resident

CHECKPOINT = ROOT / "training" / "korean-splade-small"  # of the default bundle
ROUNDS = 10
PEERS = ("sentence-transformers", "sentence-transformers-int8", "fastembed")
PATH = "/embed_sparse"


class PeerLoad(Load):
    """Whose answers are other roundings of the same model: the heaviest token is one of the heaviest expected."""

    path = PATH

    def is_wrong(self, content: Any, positions: Sequence[int]) -> bool:
        return len(content) != len(positions) or not all(
            _is_like(vector, self.expected[i]) for vector, i in zip(content, positions, strict=True)
        )


def _is_like(vector: Sequence[dict[str, Any]], expected: Sequence[int]) -> bool:
    heaviest = max(vector, key=lambda entry: entry["value"], default=None)
    return heaviest is None if not expected else heaviest is not None and heaviest["index"] in expected[:5]


@dataclass
class Measured:
    """What was measured of a server: seconds of single texts, and rounds at saturation."""

    alone: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    wrong: int = 0
    memory: float = 0.0


def compare_peers(python: str, work: Path, requests: int, seconds: float, each: int, queue: int) -> None:
    os.sched_setaffinity(0, {1})
    checkpoint = portable(CHECKPOINT, work / "checkpoint")
    texts, expected = known_texts("", 2048)
    command = [python, "-m", "benchmarks.suite.peer_server"]
    arguments = [str(checkpoint), str(work)]
    variables = {**os.environ, **environment(1)}
    if not (work / "fastembed" / "model.onnx").exists():
        subprocess.run([*command, "prepare", *arguments], check=True, cwd=ROOT, env=variables)
    print("| server | one text, ms | p99 | saturated, texts/s | rounds | memory, MB | wrong |")
    print("|---|---|---|---|---|---|---|")
    with ExitStack() as stack:
        limits = ("--max-queue", str(queue), "--max-client-batch-size", str(min(queue, 128)))
        own = server("", "--threads", "1", *limits, core=0)
        places = {"spladert serve": stack.enter_context(own)}
        for name in PEERS:
            peer = started([*command, name, *arguments], core=0, folder=ROOT, environment=variables)
            places[name] = stack.enter_context(peer)
        found = {name: Measured() for name in places}
        for turn in range(ROUNDS + 1):  # the first one is for warming up
            for name, (host, port, process) in places.items():
                client, measured = Client(host, port), found[name]
                alone = [client.ask("POST", PATH, {"inputs": QUERY}) for _ in range(requests // ROUNDS)]
                client.close()
                load = PeerLoad(f"http://{host}:{port}", texts, expected, each)
                outcome = asyncio.run(load.closed(max(queue // each, 1), seconds=seconds / ROUNDS))
                assert set(outcome.statuses) == {200}, (name, outcome.statuses)
                measured.wrong += outcome.wrong
                if turn:
                    measured.alone += alone
                    measured.rates.append(outcome.texts / outcome.elapsed)
                    measured.memory = resident(process)
    for name, measured in found.items():
        alone = sorted(measured.alone)
        print(
            f"| {name} | {1000 * statistics.median(alone):.2f} | {1000 * alone[int(0.99 * len(alone))]:.2f} "
            f"| {statistics.median(measured.rates):.0f} | {min(measured.rates):.0f} to {max(measured.rates):.0f} "
            f"| {measured.memory:.0f} | {measured.wrong} |"
        )
