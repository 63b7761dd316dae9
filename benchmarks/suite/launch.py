"""Engines started on texts out of the shared sentences."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from spladert.bundle import open_bundle

from .checkpoint import portable
from .processes import Launcher
from .texts import make_workload
from .workload import SHAPES, Shape


@contextmanager
def launched(
    checkpoint: Path, bundle: Path, *, threads: int, shapes: Iterable[Shape] = SHAPES, work: Path | None = None
) -> Iterator[Launcher]:
    """A launcher whose engines have texts of these shapes, and of the usual ones that the bundle takes.

    Args:
        work: where compare.py made the files of engines that need some; None for those that need none.
    """
    manifest = open_bundle(bundle).manifest
    source = Path(os.environ.get("SPLADERT_SHARED", "../shared")) / "data/sentences.txt"
    with tempfile.TemporaryDirectory() as folder:
        workload = Path(folder) / "workload.json"
        texts = make_workload(bundle, source, shapes, mix_texts=1)
        workload.write_text(json.dumps(texts.to_dict(), ensure_ascii=False), encoding="utf-8")
        yield Launcher(
            {
                "checkpoint": str(portable(checkpoint, Path(folder) / "checkpoint")),
                "bundle": str(bundle.resolve()),
                "work": str((work or Path(folder)).resolve()),
                "workload": str(workload),
                "threads": threads,
                "max_length": manifest.max_length,
                "top_k": manifest.top_k,
            }
        )
