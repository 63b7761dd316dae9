"""One engine in a process of its own: `python -m benchmarks.suite.worker SPEC`, SPEC a JSON file. Prints JSON last.

Nothing is imported before the first vector that the engine does not import itself, so that its start is its own.
"""

from __future__ import annotations

import json
import sys
import time
import traceback
from functools import partial
from pathlib import Path
from typing import Any

from .agreement import heaviest, texts_to_agree_on
from .engine import Encode, Engine, Inputs, NotHereError
from .engines import engine
from .workload import SHAPES, Shape, Workload, mix_batches

WARM_CALLS = 50  # of `single`
MOST = 60  # samples of a shape in one process


def inputs_from(spec: dict[str, Any]) -> Inputs:
    return Inputs(
        checkpoint=Path(spec["checkpoint"]),
        bundle=Path(spec["bundle"]),
        work=Path(spec["work"]),
        threads=spec["threads"],
        max_length=spec["max_length"],
        top_k=spec["top_k"],
    )


def prepare(chosen: Engine, spec: dict[str, Any], workload: Workload) -> dict[str, Any]:
    if chosen.prepare is not None:
        chosen.prepare(inputs_from(spec), workload.calibration)
    return {}


def check(chosen: Engine, spec: dict[str, Any], workload: Workload) -> dict[str, Any]:
    """Load and encode once: says whether the engine runs, and brings its files into the page cache."""
    chosen.load(inputs_from(spec))(workload.mix[:1])
    from spladert.bench.machine import versions

    return {"versions": versions(chosen.packages)}


def shapes(chosen: Engine, spec: dict[str, Any], workload: Workload) -> dict[str, Any]:
    encode, cold = _start(chosen, spec, workload)
    from spladert.bench.machine import peak_memory_mb
    from spladert.bench.samples import WARM_UP, sample, warm_up

    samples = {}
    for name in spec["shapes"]:
        call = partial(encode, workload.texts(Shape.parse(name)))
        warm_up(call, min(WARM_UP, spec["seconds"]))
        samples[name] = sample(call, spec["seconds"], most=MOST)
    return {"cold_start_s": cold, "samples_ms": samples, "peak_mb": peak_memory_mb()}


def mix(chosen: Engine, spec: dict[str, Any], workload: Workload) -> dict[str, Any]:
    """Seconds of all texts of the mix, after one batch of them as a warm-up."""
    encode, _ = _start(chosen, spec, workload)
    calls = mix_batches(workload.mix, chosen.batching)
    encode(calls[len(calls) // 2][:32])
    started = time.perf_counter()
    for texts in calls:
        encode(texts)
    seconds = time.perf_counter() - started
    from spladert.bench.machine import peak_memory_mb

    return {"mix_s": seconds, "peak_mb": peak_memory_mb()}


def agree(chosen: Engine, spec: dict[str, Any], workload: Workload) -> dict[str, Any]:
    """The heaviest entries of texts of all lengths."""
    return {"heaviest": heaviest(chosen.load(inputs_from(spec))(texts_to_agree_on(workload)))}


def memory(chosen: Engine, spec: dict[str, Any], workload: Workload) -> dict[str, Any]:
    """Peak memory of one call with `spec["texts"]` of the longest texts."""
    encode, _ = _start(chosen, spec, workload)
    longest = workload.by_length[max(workload.by_length)]
    count = spec["texts"]
    encode((longest * (count // len(longest) + 1))[:count])
    from spladert.bench.machine import peak_memory_mb

    return {"peak_mb": peak_memory_mb()}


def long_text(chosen: Engine, spec: dict[str, Any], workload: Workload) -> dict[str, Any]:
    """CPU seconds and peak memory of one text of `spec["length"]` tokens, after a short one."""
    encode, _ = _start(chosen, spec, workload)
    text = workload.by_length[spec["length"]][:1]
    started = time.process_time()
    encode(text)
    seconds = time.process_time() - started
    from spladert.bench.machine import peak_memory_mb

    return {"cpu_s": seconds, "peak_mb": peak_memory_mb()}


def single(chosen: Engine, spec: dict[str, Any], workload: Workload) -> dict[str, Any]:
    """Milliseconds of `spec["count"]` calls with one short text each, after some as a warm-up."""
    encode, _ = _start(chosen, spec, workload)
    texts = [[text] for text in workload.by_length[min(workload.by_length)]]
    samples = []
    for number in range(spec["count"] + WARM_CALLS):
        started = time.perf_counter()
        encode(texts[number % len(texts)])
        samples.append(1000 * (time.perf_counter() - started))
    return {"samples_ms": samples[WARM_CALLS:]}


def callers(chosen: Engine, spec: dict[str, Any], workload: Workload) -> dict[str, Any]:
    """Texts a second of `spec["callers"]` threads that call at once, each with its own batches of 32 texts."""
    encode, _ = _start(chosen, spec, workload)
    from concurrent.futures import ThreadPoolExecutor

    batch = workload.by_length[spec["length"]][:32]
    encode(batch)
    with ThreadPoolExecutor(spec["callers"]) as pool:
        started = time.perf_counter()
        list(pool.map(lambda _: encode(batch), range(spec["batches"])))
        seconds = time.perf_counter() - started
    return {"texts_s": spec["batches"] * len(batch) / seconds}


TASKS = {task.__name__: task for task in (prepare, check, shapes, mix, agree, memory, long_text, single, callers)}


def _start(chosen: Engine, spec: dict[str, Any], workload: Workload) -> tuple[Encode, float]:
    """The engine, and seconds from the process's start (by the parent's clock, which is this one's) to a vector."""
    encode = chosen.load(inputs_from(spec))
    encode(workload.texts(SHAPES[0]))
    return encode, time.monotonic() - spec["started"]


def run(spec: dict[str, Any]) -> dict[str, Any]:
    """The task's result, or {"not_run": why} where the engine cannot run here."""
    workload = Workload.from_dict(json.loads(Path(spec["workload"]).read_text(encoding="utf-8")))
    try:
        return TASKS[spec["task"]](engine(spec["engine"]), spec, workload)
    except ImportError as error:
        traceback.print_exc()
        return {"not_run": f"cannot be imported: {str(error).strip().splitlines()[0]}"}
    except NotHereError as error:
        return {"not_run": str(error)}


if __name__ == "__main__":
    print(json.dumps(run(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))))
