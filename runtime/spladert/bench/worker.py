"""One task of a bundle's measurement: `python -m spladert.bench.worker SPEC`, SPEC a JSON file. Prints JSON last.

What a task needs of this package is imported once the encoder is there, so that a start is the encoder's own.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from ..bundle import open_bundle
from ..encoder import SparseEncoder
from ..engine import RuntimeOptions, make_request
from ..errors import SpladertError

TURNS = 5  # that the lengths take: a slow second of the machine touches all of them


def start(spec: dict[str, Any]) -> dict[str, Any]:
    """Seconds from the process's start to `import spladert`, to the loaded encoder, and to its first vector."""
    imported = time.monotonic()
    encoder = load(spec)
    loaded = time.monotonic()
    encoder.encode(spec["text"])
    times = {"import_s": imported, "load_s": loaded, "first_vector_s": time.monotonic()}
    return {
        "seconds": {name: at - spec["started"] for name, at in times.items()},
        "variant": encoder.variant.name,
        "device": encoder.device,
        "runs_on": encoder.engine.runs_on,
        "threads": encoder.options.thread_count(),
    }


def latency(spec: dict[str, Any]) -> dict[str, Any]:
    """Milliseconds of calls with one text, by its number of tokens; the texts of a length take turns."""
    encoder = load(spec)
    from .samples import ENOUGH, sample, warm_up

    calls = {tokens: _one_after_another(encoder, texts) for tokens, texts in spec["by_length"].items()}
    for call in calls.values():
        warm_up(call)
    taken: dict[str, list[float]] = {tokens: [] for tokens in calls}
    seconds = spec["seconds"] / TURNS
    for _ in range(TURNS):
        for tokens, call in calls.items():
            taken[tokens] += sample(call, seconds, least=ENOUGH // TURNS, limit=4 * seconds)
    return {"samples_ms": taken}


def throughput(spec: dict[str, Any]) -> dict[str, Any]:
    """Texts and tokens a second, by texts of a call and callers at once, which are threads of this process."""
    encoder = load(spec)
    from .samples import call_at_once, warm_up

    texts: list[str] = spec["texts"]
    tokens = [len(row) for row in encoder.tokenize_batch(texts).input_ids]
    rates = []
    for batch_size in spec["batch_sizes"]:

        def encode(number: int, size: int = batch_size) -> None:
            encoder.encode([texts[i % len(texts)] for i in range(number * size, (number + 1) * size)], batch_size=size)

        warm_up(partial(encode, 0))
        for callers in spec["callers"]:
            calls, seconds = call_at_once(encode, callers, spec["seconds"])
            encoded = range(calls * batch_size)
            rates.append(
                {
                    "batch_size": batch_size,
                    "callers": callers,
                    "calls": calls,
                    "texts_per_s": len(encoded) / seconds,
                    "tokens_per_s": sum(tokens[i % len(texts)] for i in encoded) / seconds,
                }
            )
    return {"rates": rates}


def memory(spec: dict[str, Any]) -> dict[str, Any]:
    """Peak memory of the process after one call with all of the texts; with none, of the loaded encoder."""
    encoder = load(spec)
    if spec["texts"]:
        encoder.encode(spec["texts"], batch_size=len(spec["texts"]))
    from .machine import peak_memory_mb

    return {"peak_mb": peak_memory_mb()}


TASKS = {task.__name__: task for task in (start, latency, throughput, memory)}


def load(spec: dict[str, Any]) -> SparseEncoder:
    request = make_request(**spec["request"])
    return SparseEncoder.from_bundle(open_bundle(spec["bundle"]), request, RuntimeOptions(**spec["options"]))


def _one_after_another(encoder: SparseEncoder, texts: Sequence[str]) -> Callable[[], object]:
    numbers = count()
    return lambda: encoder.encode(texts[next(numbers) % len(texts)])


def run(spec: dict[str, Any]) -> dict[str, Any]:
    """The task's result, or {"error": [class, message]} of an error raised on purpose."""
    try:
        return TASKS[spec["task"]](spec)
    except SpladertError as error:
        return {"error": [type(error).__name__, str(error)]}


if __name__ == "__main__":
    print(json.dumps(run(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))))
