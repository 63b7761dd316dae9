"""Peak memory of an engine by the number of texts of one call, each in a process of its own.

    python -m benchmarks.memory CHECKPOINT BUNDLE [--engines 'spladert cpu-int8,pytorch'] [--texts-of-a-call 1,32,256]

The texts have the model's maximum length. Engines are those of compare.py that need no preparation; by default
spladert's variants for CPU.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.suite.engines import engine_names
from benchmarks.suite.launch import launched
from spladert.engine.machine import usable_cores


def main(args: argparse.Namespace) -> None:
    names = args.engines.split(",") if args.engines else [n for n in engine_names(args.bundle) if "spladert" in n]
    counts = [int(count) for count in args.texts_of_a_call.split(",")]
    with launched(args.checkpoint, args.bundle, threads=usable_cores()[0]) as launcher:
        print(f"| peak MB, texts of one call | {' | '.join(map(str, counts))} |\n|---|{'---|' * len(counts)}")
        for name in names:
            cells = []
            for count in counts:
                result = launcher.run("memory", name, texts=count)
                cells.append(f"{result['peak_mb']:.0f}" if "peak_mb" in result else next(iter(result.values())))
            print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--engines", help="Names, with commas between.")
    parser.add_argument("--texts-of-a-call", default="1,32,256")
    main(parser.parse_args())
