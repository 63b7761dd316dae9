"""A checkpoint's trace, made once by a process of the tests: most of the time of a small export is its trace's.

The first trace of a model and a head is real, and the same again is a copy of it. Tests of tracing itself call
`spladert_export.graph.trace.trace`, and those that export in a process of their own trace there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest


@contextmanager
def traced_once() -> Iterator[None]:
    """Exports of this process take a trace that they have made before."""
    import onnx_ir as ir

    from spladert_export import pipeline

    trace, made = pipeline.trace, dict[str, ir.Model]()

    def trace_or_copy(model: Any, **settings: Any) -> ir.Model:
        key = _digest(model, settings)
        if key not in made:
            made[key] = trace(model, **settings)
        return made[key].clone()  # with the same tensors, so that what is tied stays so

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "trace", trace_or_copy)
        yield


def _digest(model: Any, settings: dict[str, Any]) -> str:
    """Of all that tells one trace from another: the model's type, config and weights, and the settings."""
    import torch

    config = {name: value for name, value in model.config.to_dict().items() if name != "_name_or_path"}
    found = hashlib.sha256(repr((type(model), config, settings)).encode())
    for name, tensor in model.state_dict().items():
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.detach().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()
