"""Running and rewriting the graphs of GPU variants on the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime as ort

from spladert_export.graph.writer import write_graph


def run(path: Path, ids: Any, mask: Any) -> Any:
    """Dense weights [B, V] of a graph on the CPU, QDQ pairs computed as written."""
    options = ort.SessionOptions()
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    indices, values = session.run(["indices", "values"], {"input_ids": ids, "attention_mask": mask})
    dense = np.zeros((len(ids), indices.max() + 500), np.float32)
    np.put_along_axis(dense, indices.astype(np.int64), values, axis=1)
    return dense[:, :300]


def padded_batch(max_length: int) -> tuple[Any, Any]:
    lengths = (1, 5, 2, max_length, max_length // 2)
    random = np.random.default_rng(0)
    ids = random.integers(5, 100, (len(lengths), max_length))
    mask = (np.arange(max_length)[None] < np.array(lengths)[:, None]).astype(np.int64)
    return ids, mask


def rewritten(graph: Path, out: Path, *steps: Any) -> Path:
    model = ir.load(graph)
    for step in steps:
        step(model)
    write_graph(model, out)
    return out
