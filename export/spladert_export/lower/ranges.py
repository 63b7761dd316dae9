"""The largest number that every value of a graph reaches on calibration texts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx_ir as ir

from spladert.engine.session import start_session


def largest_values(model: ir.Model, folder: Path, token_ids: Sequence[Sequence[int]]) -> dict[str, float]:
    """max |x| of each floating value that a node of the fp32 graph makes, by its name; `model` is left as it was.

    Texts run alone, without padding, whose hidden scores are no numbers that count. The graph is put into `folder` to
    run, beside the data that it shares, and taken away again.
    """
    probe = model.clone()
    names = []
    for node in list(probe.graph):
        for value in node.outputs:
            if value.dtype == ir.DataType.FLOAT and value.uses() and node.op_type not in ("Reshape", "Transpose"):
                size = ir.node("Abs", [value])
                top = ir.node("ReduceMax", size.outputs, {"keepdims": 0})
                size.outputs[0].type = top.outputs[0].type = ir.TensorType(ir.DataType.FLOAT)
                top.outputs[0].shape = ir.Shape([])
                size.outputs[0].name, top.outputs[0].name = f"{value.name}.size", f"{value.name}.largest"
                probe.graph.insert_after(node, [size, top])
                probe.graph.outputs.append(top.outputs[0])
                names.append(str(value.name))
    path = folder / "ranges.onnx"
    try:
        ir.save(probe, path)
        session = start_session(path)
    finally:
        path.unlink(missing_ok=True)
    found = np.zeros(len(names))
    outputs = [f"{name}.largest" for name in names]
    for ids in token_ids:
        if ids:
            input_ids = np.array([ids], dtype=np.int64)
            feeds = {"input_ids": input_ids, "attention_mask": np.ones_like(input_ids)}
            found = np.maximum(found, np.array(session.run(outputs, feeds)))
    return dict(zip(names, found.tolist(), strict=True))
