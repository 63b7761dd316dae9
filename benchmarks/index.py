"""A folder's index beside the exact product of scipy: build, query, recall, size, memory, opening.

    python -m benchmarks.index --texts sentences.txt --questions queries.txt [--count 100000]

The build is `spladert index` in a process of its own, in turns with `spladert encode` of the same texts into a file,
whose time it is compared with: seconds by the clock and of the processor. The other numbers are this process's, of one
thread, once as many other questions have been asked. Recall is the share of hits that are as good as the exact tenth.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, load_npz

from spladert import SparseEncoder
from spladert.index import open_index_searcher
from spladert.stores import How

TOP = 10
TURN = 25  # questions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=Path, required=True, help="a text a line")
    parser.add_argument("--questions", type=Path, required=True, help="a question a line")
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--asked", type=int, default=500, help="questions that are asked")
    parser.add_argument("--turns", type=int, default=1, help="builds, each after an encoding")
    given = parser.parse_args()
    lines = given.questions.read_text(encoding="utf-8").splitlines()
    questions, others = lines[: given.asked], lines[given.asked : 2 * given.asked]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lines = given.texts.read_text(encoding="utf-8").splitlines()[: given.count]
        (folder / "texts.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        print("| | seconds | of the processor | peak MB |\n|---|---|---|---|")
        for turn in range(given.turns):
            for command in (
                ("encode", "--side", "document", "--input", "texts.txt", "--output"),
                ("index", "texts.txt"),
            ):
                output = f"{turn}.npz" if command[0] == "encode" else f"{turn}.index"
                print(f"| {command[0]} | {' | '.join(_run([*command, output], folder))} |", flush=True)
        print("\n| | |\n|---|---|")
        for row in _asked(folder / "0.index", folder / "0.npz", questions, others):
            print("| " + " | ".join(row) + " |", flush=True)


def _run(arguments: Sequence[str], folder: Path) -> list[str]:
    """Seconds by the clock and of the processor, and the peak memory, of a command."""
    started = time.perf_counter()
    code = "from spladert.cli import main; main()"
    process = subprocess.Popen([sys.executable, "-c", code, *arguments], cwd=folder, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{arguments} ended with {status}")
    seconds = time.perf_counter() - started
    return [f"{seconds:.1f}", f"{used.ru_utime + used.ru_stime:.1f}", f"{used.ru_maxrss / 1024:.0f}"]


def _asked(index: Path, vectors: Path, questions: Sequence[str], others: Sequence[str]) -> list[tuple[str, str]]:
    """What the index is like for `questions`, once it has been asked `others`."""
    with SparseEncoder.load(threads=1, spin=False) as encoder:
        encoder.encode_query(questions[:1])
        before = _resident()
        started = time.perf_counter()
        with open_index_searcher(index) as searcher:
            opened = time.perf_counter() - started
            for question in others:
                searcher.search(encoder, question, How(TOP, hybrid=True))
            encoding, plain, hybrid = _in_turns(
                encoder.encode_query,
                lambda question: searcher.search(encoder, question, How(TOP)),
                lambda question: searcher.search(encoder, question, How(TOP, hybrid=True)),
                arguments=questions,
            )
            memory = _resident() - before
            found = [[hit.score for hit in searcher.search(encoder, q, How(TOP)).hits] for q in questions]
        matrix = load_npz(vectors)
        by_dimension = csr_array(matrix.T)
        asked = encoder.encode_query(questions).to_scipy()
        exact = [_best((asked[[i]] @ by_dimension).toarray()[0]) for i in range(len(questions))]
        rows = range(len(questions))
        product = float(np.median(_milliseconds(lambda row: _best((asked[[row]] @ by_dimension).toarray()[0]), rows)))
    wanted = sum(len(best) for best in exact)
    good = sum(
        int((np.array(scores) >= best[-1] * (1 - 1e-5)).sum())
        for scores, best in zip(found, exact, strict=True)
        if len(best)
    )
    return [
        ("opened", f"{opened * 1000:.0f} ms"),
        ("a question's encoding, median", f"{encoding:.2f} ms"),
        ("a question, median, with its encoding, texts and tokens", f"{plain:.2f} ms"),
        ("a question blended with BM25", f"{hybrid:.2f} ms"),
        ("scipy's exact product, without encoding", f"{product:.2f} ms"),
        (f"recall@{TOP}", f"{good / wanted:.4f}"),
        ("on disk", f"{_size(index) / 1e6:.0f} MB, {_size(index / 'shard' / 'wal') / 1e6:.0f} of them the log"),
        ("memory of the opened index, after the questions", f"{memory / 1e6:.0f} MB"),
        ("memory of scipy's matrix", f"{_bytes(by_dimension) / 1e6:.0f} MB"),
    ]


def _best(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """The best scores above 0, the best first."""
    best = np.sort(np.partition(scores, -TOP)[-TOP:])[::-1]
    return best[best > 0]


def _in_turns(*functions: Callable[[str], object], arguments: Sequence[str]) -> list[float]:
    """Median milliseconds of each, a few calls by turns: other work on the machine meets all of them."""
    times: list[list[float]] = [[] for _ in functions]
    for start in range(0, len(arguments), TURN):
        for function, own in zip(functions, times, strict=True):
            own += _milliseconds(function, arguments[start : start + TURN])
    return [float(np.median(own)) for own in times]


def _milliseconds(function: Callable[[Any], object], arguments: Sequence[Any]) -> list[float]:
    found = []
    for argument in arguments:
        started = time.perf_counter()
        function(argument)
        found.append((time.perf_counter() - started) * 1000)
    return found


def _resident() -> int:
    """Bytes of memory that this process holds."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def _size(folder: Path) -> int:
    """Bytes that a folder takes on disk."""
    return sum(512 * path.stat().st_blocks for path in folder.rglob("*") if path.is_file())


def _bytes(matrix: object) -> int:
    return sum(int(getattr(matrix, name).nbytes) for name in ("data", "indices", "indptr"))


if __name__ == "__main__":
    main()
