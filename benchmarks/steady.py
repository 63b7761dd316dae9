"""How steady an engine is: beside a busy process, with several callers at once, and from call to call.

    python -m benchmarks.compare CHECKPOINT BUNDLE --engines ENGINES --measures agreement --work WORK
    python -m benchmarks.steady CHECKPOINT BUNDLE --work WORK [--engines ENGINES] [--calls 10000] [--rounds 5]

The first command makes the files of engines that need some. Engines take turns, round by round, each in a process of
its own; figures are over all rounds so far.

- One text of 8 tokens: alone on one thread, alone on all, and on all beside a process that keeps one core busy.
- 32 texts of 32 tokens a call, by one caller and by four at once: texts a second.
- 99th percentile over median of --calls calls with one text of 8 tokens, on all threads.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from benchmarks.suite.launch import launched
from benchmarks.suite.processes import Launcher
from spladert.bench.samples import percentile
from spladert.engine.machine import usable_cores

ENGINES = "openvino nncf-int8,spladert cpu-int8,spladert cpu-int8 onnx"
BESIDE = 300  # calls a round beside the busy process, and on one thread
BATCHES = 32  # of a round of callers


@contextmanager
def busy_core() -> Iterator[None]:
    """A process that never rests, on the last of the usable cores."""
    core = max(os.sched_getaffinity(0))
    code = f"import os\nos.sched_setaffinity(0, {{{core}}})\nwhile True: pass"
    process = subprocess.Popen([sys.executable, "-c", code])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def main(args: argparse.Namespace) -> None:
    names = args.engines.split(",")
    singles: dict[tuple[str, str], list[float]] = defaultdict(list)
    rates: dict[tuple[str, int], list[float]] = defaultdict(list)

    def single(launcher: Launcher, name: str, how: str, count: int) -> None:
        singles[name, how] += launcher.run("single", name, count=count)["samples_ms"]

    shared = {"work": args.work}
    with (
        launched(args.checkpoint, args.bundle, threads=1, **shared) as one,
        launched(args.checkpoint, args.bundle, threads=usable_cores()[0], **shared) as all_cores,
    ):
        for number in range(1, args.rounds + 1):
            for name in names:
                single(one, name, "one", BESIDE)
                single(all_cores, name, "all", args.calls // args.rounds)
                with busy_core():
                    single(all_cores, name, "beside", BESIDE)
                for callers in (1, 4):
                    result = all_cores.run("callers", name, callers=callers, batches=BATCHES, length=32)
                    rates[name, callers].append(result.get("texts_s", float("nan")))  # an engine of one caller fails
            print(f"\nAfter round {number}:\n\n{table(names, singles, rates)}", flush=True)


def table(
    names: Sequence[str],
    singles: Mapping[tuple[str, str], Sequence[float]],
    rates: Mapping[tuple[str, int], Sequence[float]],
) -> str:
    columns = ["one thread, ms", "all threads", "beside a busy process", "beside / one thread", "p99 / p50"]
    columns += ["one caller, texts/s", "four callers", "four / one"]
    lines = [f"| engine | {' | '.join(columns)} |", f"|---|{'---|' * len(columns)}"]
    for name in names:
        p50 = {how: median(singles[name, how]) for how in ("one", "all", "beside")}
        tail = percentile(singles[name, "all"], 0.99) / p50["all"]
        rate = {callers: median(rates[name, callers]) for callers in (1, 4)}
        pairs = median(b / a for a, b in zip(rates[name, 1], rates[name, 4], strict=True))
        lines.append(
            f"| {name} | {p50['one']:.2f} | {p50['all']:.2f} | {p50['beside']:.2f} | {p50['beside'] / p50['one']:.2f} "
            f"| {tail:.2f} | {rate[1]:.0f} | {rate[4]:.0f} | {pairs:.2f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("bundle", type=Path)
    parser.add_argument(
        "--work", type=Path, required=True, help="Folder of the peers' models, as compare.py made them."
    )
    parser.add_argument("--engines", default=ENGINES, help=f"Names, with commas between. Default: {ENGINES}.")
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    main(parser.parse_args())
