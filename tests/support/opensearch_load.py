"""Loading documents into a node as `spladert encode` does, in steps small enough to be interrupted.

    python -m support.opensearch_load URL INPUT STATE

runs it in a process of its own, which a test may kill.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from spladert import SparseEncoder
from spladert.files import (
    ChunkLimits,
    Encoding,
    Fields,
    Job,
    RunOptions,
    Summary,
    encode_records,
    open_input,
    read_records,
)
from spladert.files.sinks.opensearch import open_opensearch_sink
from spladert.opensearch.bulk import Retries
from spladert.stores import Connection, Load, parse_store_url

RETRIES = Retries(first=0.1, longest=1.0, patience=120.0)


def write_documents(path: Path, documents: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(each, ensure_ascii=False) + "\n" for each in documents), encoding="utf-8")
    return path


def load_documents(
    encoder: SparseEncoder,
    url: str,
    path: Path,
    state: Path,
    *,
    alias: str | None = None,
    connection: Connection | None = None,
    retries: Retries = RETRIES,
    chunk: int = 64,
) -> tuple[Summary, tuple[str, ...]]:
    """What the job did, and what the sink reports."""
    target = parse_store_url(url)
    with (
        open_input(str(path)) as source,
        open_opensearch_sink(
            target, connection or Connection(), encoder, Load(str(path), state, alias), retries=retries
        ) as sink,
    ):
        records = read_records(source.stream, "text" if path.suffix == ".txt" else "jsonl", Fields())
        job = Job.of(encoder, format="opensearch", encoding=Encoding(side="document"), chunk=ChunkLimits(records=chunk))
        return encode_records(encoder, records, sink, job, RunOptions(skip_errors=True)), sink.report


if __name__ == "__main__":
    with SparseEncoder.load(threads=1, spin=False) as model:
        load_documents(model, sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
