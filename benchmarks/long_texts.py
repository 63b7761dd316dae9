"""CPU seconds and peak memory of one long text, by its tokens, each engine and length in a process of its own.

    python -m benchmarks.make_checkpoint CHECKPOINT
    spladert export CHECKPOINT BUNDLE --max-length 8192 --variant cpu-fp32 --variant cpu-int8 --allow-loss
    python -m benchmarks.long_texts CHECKPOINT BUNDLE [--engines 'spladert cpu-int8,pytorch'] [--lengths 512,2048,8192]

One thread. Engines are those of compare.py that need no preparation; by default spladert's variants for CPU and the
model card's PyTorch. The bundle's maximum length is that of the longest text, or more.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path

from benchmarks.suite.checkpoint import portable
from benchmarks.suite.engines import engine_names
from benchmarks.suite.processes import Launcher
from benchmarks.suite.texts import make_workload
from benchmarks.suite.workload import Shape
from spladert.bundle import open_bundle


def main(args: argparse.Namespace) -> None:
    manifest = open_bundle(args.bundle).manifest
    names = args.engines.split(",") if args.engines else [*_own(args.bundle), "pytorch"]
    lengths = [int(length) for length in args.lengths.split(",")]
    source = Path(os.environ.get("SPLADERT_SHARED", "../shared")) / "data/sentences.txt"
    with tempfile.TemporaryDirectory() as folder:
        workload = Path(folder) / "workload.json"
        texts = make_workload(args.bundle, source, [Shape(1, length) for length in lengths], mix_texts=1)
        workload.write_text(json.dumps(texts.to_dict(), ensure_ascii=False), encoding="utf-8")
        launcher = Launcher(
            {
                "checkpoint": str(portable(args.checkpoint, Path(folder) / "checkpoint")),
                "bundle": str(args.bundle.resolve()),
                "work": folder,
                "workload": str(workload),
                "threads": 1,
                "max_length": manifest.max_length,
                "top_k": manifest.top_k,
            }
        )
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
