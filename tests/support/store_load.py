"""Loading documents into a store as `spladert encode` does, in small steps, with a kill in the middle if one is asked.

    python -m support.store_load URL INPUT STATE KILL_AT

ends itself by SIGKILL when it reads the line KILL_AT, or soon after.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from spladert import SparseEncoder
from spladert.files import (
    BadRecord,
    ChunkLimits,
    Encoding,
    Job,
    Record,
    RunOptions,
    Summary,
    encode_records,
    open_input,
    read_records,
)
from spladert.stores import Connection, Load, open_sink, parse_store_url

CHUNK = 16


def load_into_store(
    encoder: SparseEncoder, url: str, path: Path, state: Path, kill_at: int | None = None
) -> tuple[Summary, tuple[str, ...]]:
    """What the job did, and what the sink reports."""
    store = parse_store_url(url)

    def until_killed(records: Iterator[Record | BadRecord]) -> Iterator[Record | BadRecord]:
        for record in records:
            if record.line == kill_at:
                while not list(state.glob("*/state.json")):  # something is done by then
                    time.sleep(0.01)
                os.kill(os.getpid(), signal.SIGKILL)
            yield record

    with open_input(str(path)) as source, open_sink(store, Connection(), encoder, Load(str(path), state)) as sink:
        how = Encoding(side="document")
        job = Job.of(encoder, format=store.scheme, encoding=how, chunk=ChunkLimits(records=CHUNK))
        records = until_killed(read_records(source.stream, "jsonl"))
        return encode_records(encoder, records, sink, job, RunOptions(skip_errors=True)), sink.report


if __name__ == "__main__":
    with SparseEncoder.load(threads=1, spin=False) as model:
        load_into_store(model, sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
