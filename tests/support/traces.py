"""A checkpoint's trace, made once for all processes of a run of the tests: it takes 85% of a small export.

The first trace of a model and a head is real; it is stored, and the same again is read. Tests of tracing itself call
`spladert_export.graph.trace.trace`, and those that export in a process of their own trace there.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


@contextmanager
def traced_once(folder: Path) -> Iterator[None]:
    """Exports of this process look for their trace in `folder` first."""
    import onnx_ir as ir

    from spladert_export import pipeline

    trace = pipeline.trace

    def stored_trace(model: Any, **settings: Any) -> ir.Model:
        file = folder / f"{_digest(model, settings)}.onnx"
        if not file.is_file():
            partial = file.with_suffix(f".{os.getpid()}.part")
            ir.save(trace(model, **settings), partial)
            partial.replace(file)
        return ir.load(file)

    folder.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "trace", stored_trace)
        yield


def _digest(model: Any, settings: dict[str, Any]) -> str:
    """All that a trace depends on: code, settings and weights."""
    import torch

    config = {name: value for name, value in model.config.to_dict().items() if name != "_name_or_path"}
    found = hashlib.sha256(repr((type(model), config, settings)).encode())
    for name, tensor in model.state_dict().items():
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.detach().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()
