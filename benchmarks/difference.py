"""Two results of compare.py side by side, before and after a change: after over before, below 1 is better.

    python -m benchmarks.difference BEFORE.json AFTER.json

Make them in turns, round by round, so that a slow minute of the machine touches both.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.suite.workload import shapes_of

WHOLE = {"mix": "mix_s", "peak MB, mix": "mix_peak_mb", "peak MB, shapes": "peak_mb", "cold start": "cold_start_s"}


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """Markdown: a row an engine that is in both, a column a shape (median latency) and each figure of the whole.

    Raises:
        SystemExit: they were made on different machines, or with different settings (variants may differ), or no engine
            is in both.
    """
    for name in ("machine", "settings"):
        ours, theirs = ({**one[name], "variants": None} for one in (after, before))
        if differ := [key for key in {**ours, **theirs} if ours.get(key) != theirs.get(key)]:
            raise SystemExit(f"the two were made with another {name} ({', '.join(differ)})")
    engines = [name for name in before["engines"] if name in after["engines"]]
    if not engines:
        raise SystemExit("no engine is in both")
    pairs = [(name, before["engines"][name], after["engines"][name]) for name in engines]
    shapes = [str(shape) for shape in shapes_of(shape for _, old, new in pairs for shape in _both(old, new))]
    lines = [f"| engine | {' | '.join([*shapes, *WHOLE])} |", f"|---|{'---|' * (len(shapes) + len(WHOLE))}"]
    for name, old, new in pairs:
        cells = [_ratio(old["shapes"].get(shape, {}), new["shapes"].get(shape, {}), "p50_ms") for shape in shapes]
        cells += [_ratio(old, new, figure) for figure in WHOLE.values()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _both(old: Mapping[str, Any], new: Mapping[str, Any]) -> set[str]:
    return set(old["shapes"]) & set(new["shapes"])


def _ratio(old: Mapping[str, Any], new: Mapping[str, Any], figure: str) -> str:
    return f"{new[figure] / old[figure]:.2f}" if figure in old and figure in new else ""


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    args = parser.parse_args()
    print(difference(*(json.loads(path.read_text(encoding="utf-8")) for path in (args.before, args.after))))
