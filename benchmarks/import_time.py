"""CPU time of `import spladert` and of the default model's first vector, each in processes of its own.

    python -m benchmarks.import_time [--runs 7]

Prints the median over the runs of user plus system time, and of wall time, in seconds.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time

CASES = {
    "python -c pass": "pass",
    "import numpy": "import numpy",
    "import spladert": "import spladert",
    "SparseEncoder.load()": "from spladert import SparseEncoder; SparseEncoder.load()",
    "first vector": "from spladert import SparseEncoder; SparseEncoder.load().encode('당뇨병 치료 방법')",
}


def measure(code: str) -> tuple[float, float]:
    """(CPU seconds, wall seconds) of one Python process that runs `code`."""
    before, started = os.times(), time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return cpu, time.perf_counter() - started


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    runs = parser.parse_args().runs
    print(f"{'':24}{'CPU s':>8}{'wall s':>8}")
    for name, code in CASES.items():
        measure(code)  # files into the page cache
        taken = [measure(code) for _ in range(runs)]
        cpu, wall = (statistics.median(column) for column in zip(*taken, strict=True))
        print(f"{name:24}{cpu:8.3f}{wall:8.3f}")
