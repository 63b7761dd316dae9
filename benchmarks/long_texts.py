"""CPU seconds and peak memory of one long text, by its tokens, each engine and length in a process of its own.

    python -m benchmarks.make_checkpoint CHECKPOINT
    spladert export CHECKPOINT BUNDLE --max-length 8192 --variant cpu-fp32 --variant cpu-int8 --allow-loss
    python -m benchmarks.long_texts CHECKPOINT BUNDLE [--engines 'spladert cpu-int8,pytorch'] [--lengths 512,2048,8192]

One thread. Engines are those of compare.py that need no preparation; by default spladert's variants for CPU and the
model card's PyTorch. The bundle's maximum length is that of the longest text, or more.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.suite.engines import engine_names
from benchmarks.suite.launch import launched
from benchmarks.suite.workload import Shape


def main(args: argparse.Namespace) -> None:
    names = args.engines.split(",") if args.engines else [*_own(args.bundle), "pytorch"]
    lengths = [int(length) for length in args.lengths.split(",")]
    with launched(args.checkpoint, args.bundle, threads=1, shapes=[Shape(1, length) for length in lengths]) as launcher:
        print(f"| tokens | {' | '.join(names)} |\n|---|{'---|' * len(names)}")
        for length in lengths:
            results = [launcher.run("long_text", name, length=length) for name in names]
            print(f"| {length:,} | {' | '.join(map(_cell, results))} |", flush=True)


def _own(bundle: Path) -> list[str]:
    return [name for name in engine_names(bundle) if name.startswith("spladert ")]


def _cell(result: dict[str, float]) -> str:
    if "cpu_s" not in result:
        return str(next(iter(result.values())))  # why it failed or did not run
    return f"{result['cpu_s']:.3g} s, {result['peak_mb']:,.0f} MB"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--engines", help="Names, with commas between.")
    parser.add_argument("--lengths", default="512,2048,8192")
    main(parser.parse_args())
