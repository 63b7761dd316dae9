"""Ray beside one process, and the constants from which docs/cluster.md calculates a large cluster.

    python -m benchmarks.cluster --texts sentences.txt [--count 16000] [--turns 5]

Two actors of one thread are compared with one process of two threads, over the same lines, in turns: rows a second
after start-up. What Ray costs a row is an identity `map_batches` beside a plain loop; what it costs a part is many
parts of one row. Each run is a process of its own, with a Ray of its own.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import resource
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

PARTS = 32  # of a run whose rate is measured
SMALL_PARTS = 4000
BATCH_ROWS = 1024
SIZES = 100_000, 500_000  # rows of the identity; what starting costs is in both


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=Path, required=True, help="a text a line")
    parser.add_argument("--count", type=int, default=16_000)
    parser.add_argument("--turns", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lines = given.texts.read_text(encoding="utf-8").splitlines()[: given.count]
        texts, few, rows = folder / "texts.txt", folder / "few.txt", folder / "rows.parquet"
        texts.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        few.write_text("가\n" * SMALL_PARTS, encoding="utf-8")
        print("| rows a second after start-up | 1 process, 2 threads | 2 actors, 1 thread | ratio |\n|---|---|---|---|")
        pairs = []
        for turn in range(given.turns):
            one, two = _alone(one_process, texts, folder / f"{turn}.parquet"), _alone(actors, texts, folder / f"{turn}")
            pairs.append((one, two))
            print(f"| turn {turn} | {one:,.0f} | {two:,.0f} | {two / one:.3f} |", flush=True)
        one, two = (statistics.median(each) for each in zip(*pairs, strict=True))
        ratio = statistics.median(b / a for a, b in pairs)
        print(f"| medians | {one:,.0f} | {two:,.0f} | {ratio:.3f} |", flush=True)
        plain = statistics.median(_alone(per_row, lines, rows, False) for _ in range(given.turns))
        through = statistics.median(_alone(per_row, lines, rows, True) for _ in range(given.turns))
        print("\n| | |\n|---|---|")
        print(f"| a row in a plain loop | {plain:.3f} µs |")
        print(f"| a row through an identity `map_batches` | {through:.2f} µs |", flush=True)
        _alone(write_forms, texts, folder)
        for name, value in [*_alone(small_parts, few, folder / "small"), *sizes(folder, len(lines))]:
            print(f"| {name} | {value} |", flush=True)


def _alone(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function returns in a process of its own, which two CPUs may use."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def one_process(texts: Path, output: Path) -> float:
    """Rows a second of `spladert encode`."""
    facts = _encode(texts, output, "--threads", "2")
    return float(facts["texts"] / facts["seconds"])


def actors(texts: Path, output: Path) -> float:
    """Rows a second of two actors, from when both are at work."""
    from spladert.cluster import ClusterJob, Places
    from spladert.files import Encoding
    from spladert.integrations.ray import encode_corpus

    job = ClusterJob(Places(str(texts), str(output)), encoding=Encoding("document"))
    encode_corpus(job, workers=2, part_bytes=texts.stat().st_size // PARTS + 1)
    spans: dict[str, list[tuple[float, float, int]]] = defaultdict(list)  # of each worker: begin, end and rows of parts
    for path in (output / "_spladert" / "parts").iterdir():
        part, end = json.loads(path.read_text()), path.stat().st_mtime
        spans[part["worker"]].append((end - part["seconds"], end, part["rows"]))
    if len(spans) != 2:
        raise SystemExit(f"{len(spans)} actors worked; are two CPUs free?")
    start = max(min(begin for begin, _, _ in parts) for parts in spans.values())
    done = [part for parts in spans.values() for part in parts if part[1] > start]
    rows = sum(count * (end - max(begin, start)) / (end - begin) for begin, end, count in done)
    return float(rows / (max(end for _, end, _ in done) - start))


def per_row(lines: list[str], path: Path, with_ray: bool) -> float:
    """Microseconds that reading a row of a parquet file costs, in a loop or through an identity of Ray's."""
    import pyarrow as pa
    import pyarrow.parquet

    seconds = []
    for size in (BATCH_ROWS, *SIZES):  # the first one starts what there is to start
        texts = (lines * (size // len(lines) + 1))[:size]
        pa.parquet.write_table(pa.table({"text": texts}), path, row_group_size=10 * BATCH_ROWS)
        started = time.perf_counter()
        count = _through_ray(path) if with_ray else _through_a_loop(path)
        seconds.append(time.perf_counter() - started)
        if count != size:
            raise SystemExit(f"{count} of {size} rows came through")
    return (seconds[2] - seconds[1]) / (SIZES[1] - SIZES[0]) * 1e6


def _through_a_loop(path: Path) -> int:
    import pyarrow.parquet

    return sum(batch.num_rows for batch in pyarrow.parquet.ParquetFile(path).iter_batches(BATCH_ROWS))


def _through_ray(path: Path) -> int:
    import ray
    import ray.data

    if not ray.is_initialized():
        ray.init(num_cpus=2, log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False

    class Identity:  # inside, so that its code goes to the worker
        def __call__(self, batch: Any) -> Any:
            return batch

    mapped = ray.data.read_parquet(str(path)).map_batches(
        Identity,
        batch_format="pyarrow",
        batch_size=BATCH_ROWS,
        num_cpus=1,
        compute=ray.data.ActorPoolStrategy(size=1),
    )
    batches: Any = mapped.iter_batches(batch_format="pyarrow", batch_size=BATCH_ROWS)
    return sum(batch.num_rows for batch in batches)


def small_parts(texts: Path, output: Path) -> list[tuple[str, str]]:
    """What a part costs whose rows cost nothing."""
    from spladert.cluster import ClusterJob, Places
    from spladert.integrations.ray import encode_corpus

    job = ClusterJob(Places(str(texts), str(output)))
    whole = len(texts.read_bytes())
    encode_corpus(job, workers=2, part_bytes=whole)  # Ray is there then, and all is imported
    before = _cpu_seconds(), _resident()
    times: list[float] = []
    encode_corpus(
        job,
        workers=2,
        part_bytes=whole // SMALL_PARTS,
        overwrite=True,
        advance=lambda done, parts, rows: times.append(time.perf_counter()),
    )
    driver, servers = (now - then for now, then in zip(_cpu_seconds(), before[0], strict=True))
    record = output / "_spladert"
    kept = [sum(path.stat().st_size for path in (record / name).iterdir()) for name in ("parts", "attempts")]
    return [
        ("a part's time beside its rows, two actors", f"{(times[-1] - times[0]) / (SMALL_PARTS - 1) * 1e3:.1f} ms"),
        ("a part's time of the driver's processor", f"{driver / SMALL_PARTS * 1e3:.1f} ms"),
        ("a part's time of the processor of Ray's servers on the head", f"{servers / SMALL_PARTS * 1e3:.1f} ms"),
        ("a part's memory in the driver", f"{(_resident() - before[1]) / SMALL_PARTS / 1e3:.0f} kB"),
        ("a part's record, and its count of attempts", f"{kept[0] // SMALL_PARTS} and {kept[1] // SMALL_PARTS} bytes"),
    ]


def _cpu_seconds() -> tuple[float, float]:
    """Seconds of the processor of this process, and of the servers of the Ray that it started."""
    servers = 0.0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = path.read_text().partition("(")[2].rpartition(")")
        except OSError:  # it has ended
            continue
        fields = rest.split()
        if name in ("gcs_server", "raylet") and int(fields[1]) == os.getpid():
            servers += sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")
    return time.process_time(), servers


def _resident() -> int:
    """Bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def write_forms(texts: Path, folder: Path) -> None:
    """The vectors in every form whose size is told."""
    for name in ("vectors.parquet", "vectors.jsonl", "vectors.npz"):
        _encode(texts, folder / name, "--threads", "2")


def sizes(folder: Path, count: int) -> list[tuple[str, str]]:
    """Bytes a document of each form."""
    import numpy as np

    with np.load(folder / "vectors.npz") as arrays:
        entries = len(arrays["indices"]) / count
    forms = ("texts.txt", "vectors.parquet", "vectors.jsonl", "vectors.npz")
    measured = [(f"bytes a document, {name}", f"{(folder / name).stat().st_size / count:.0f}") for name in forms]
    of_part = sum(path.stat().st_size for path in (folder / "0").glob("*.parquet")) / count
    return [("entries a vector", f"{entries:.1f}"), *measured, ("bytes a document, parts of Ray", f"{of_part:.0f}")]


def _encode(texts: Path, output: Path, *options: str) -> dict[str, Any]:
    from spladert.cli import main

    facts = output.with_name(f"{output.name}.facts")
    command = ["encode", "--side", "document", "--input", str(texts), "--output", str(output), "--json", str(facts)]
    main([*command, *options], standalone_mode=False)
    read: dict[str, Any] = json.loads(facts.read_text(encoding="utf-8"))
    return read


if __name__ == "__main__":
    main()
