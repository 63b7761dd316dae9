"""What test_damage.py runs in a process of its own, so that a crash is seen: one damaged bundle a line of its input.

python damaged_run.py LIBRARY GRAPH FOLDER

A line is JSON: {"graph": damage, "data": damage}, a damage being {"written": [[place, hex], ...], "cut": place}.
The answer is a line: "ran", "refused: why", or "raised: what" for an error that is not one of ours.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from spladert.engine.native.describe import NotCoveredError, describe
from spladert.engine.native.engine import NativeEngine
from spladert.engine.native.graph import read_graph
from spladert.errors import SpladertError
from support.kernels import abi


def damaged(whole: bytes, damage: dict[str, Any]) -> bytes:
    content = bytearray(whole)
    for place, written in damage["written"]:
        part = bytes.fromhex(written)
        place %= len(content)
        content[place : place + len(part)] = part
    return bytes(content if damage["cut"] is None else content[: damage["cut"] % len(content)])


def run(library: Any, graph: Path) -> str:
    try:
        read = read_graph(graph)
        engine = NativeEngine(abi(), library, describe(read), read.mappings, max_length=64, threads=2)
        indices, values = engine.run([[2, 100, 3], [2, 3]])
        engine.close()
    except (SpladertError, NotCoveredError) as error:
        return f"refused: {error}"
    except Exception as error:
        return f"raised: {type(error).__name__} {error}"
    sound = ((indices >= 0) & (indices < 24000)).all() and (values[:, :-1] >= values[:, 1:]).all()
    return "ran" if sound else f"raised: ids or weights that are none {indices} {values}"


def main(library_path: str, source: Path, folder: Path) -> None:
    library = abi().load_library(Path(library_path))
    graph, data = folder / "cpu-int8.onnx", folder / "cpu-int8.onnx.data"
    source_data = source.with_name(data.name)
    whole, whole_data = source.read_bytes(), source_data.read_bytes()
    for line in sys.stdin:
        case = json.loads(line)
        graph.write_bytes(damaged(whole, case["graph"]))
        data.unlink(missing_ok=True)
        if case["data"]["written"] or case["data"]["cut"] is not None:
            data.write_bytes(damaged(whole_data, case["data"]))
        else:
            data.symlink_to(source_data)
        print(" ".join(run(library, graph).split()), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
