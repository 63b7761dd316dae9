"""What calibration texts show of a graph: the activations that its layers read, and how large its values get."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes.common import RemoveUnusedNodesPass

from spladert.engine.session import start_session

from .graph.edit import Floats, describe

if TYPE_CHECKING:
    import onnxruntime

SAMPLE_ROWS = 512  # about as many rows kept of each activation, to measure quantization error on
TOKENS_PER_BATCH = 512
MOVES = ("Reshape", "Transpose")  # what they give is as large as what they take


@dataclass(frozen=True)
class Observed:
    """An activation over all calibration tokens, padding excluded.

    Attributes:
        low: float32 [K], smallest value of each channel.
        high: float32 [K], largest value of each channel.
        rows: float32 [at most SAMPLE_ROWS, K], a random sample of its rows.
    """

    low: Floats
    high: Floats
    rows: Floats


def observe(
    model: ir.Model, activations: Sequence[ir.Value], folder: Path, token_ids: Sequence[Sequence[int]]
) -> list[Observed]:
    """Run an fp32 graph on the texts and observe some of its values, in their order; `model` is left as it was.

    `folder` is where the data of the graph is.
    """
    names = [str(value.name) for value in activations]
    probe = model.clone()
    made = {str(value.name): value for node in probe.graph for value in node.outputs}
    session = _start(probe, [made[name] for name in names], folder)
    total = sum(map(len, token_ids))
    random = np.random.default_rng(0)
    low: dict[str, Floats] = {}
    high: dict[str, Floats] = {}
    rows: dict[str, list[Floats]] = defaultdict(list)
    for input_ids in batches_without_padding(token_ids):
        keep = random.random(input_ids.size) < SAMPLE_ROWS / total
        for name, value in zip(names, session.run(names, _feeds(session, input_ids)), strict=True):
            flat = value.reshape(-1, value.shape[-1])
            low[name] = np.minimum(low.get(name, np.inf), flat.min(axis=0)).astype(np.float32)
            high[name] = np.maximum(high.get(name, -np.inf), flat.max(axis=0)).astype(np.float32)
            rows[name].append(flat[keep])
    return [Observed(low[name], high[name], np.concatenate(rows[name])) for name in names]


def largest_values(model: ir.Model, folder: Path, token_ids: Sequence[Sequence[int]]) -> dict[str, float]:
    """max |x| of each floating value that a node of an fp32 graph makes, by its name; `model` is left as it was.

    `folder` is where the data of the graph is.
    """
    probe = model.clone()
    names, tops, moved = [], [], []
    for node in list(probe.graph):
        for value in node.outputs:
            if value.dtype != ir.DataType.FLOAT or not value.uses():
                continue
            if node.op_type in MOVES and node.inputs[0] is not None:
                moved.append((str(value.name), str(node.inputs[0].name)))
            else:
                size = ir.node("Abs", [value])
                top = ir.node("ReduceMax", size.outputs, {"keepdims": 0})
                describe(size.outputs[0], f"{value.name}.size", ir.DataType.FLOAT, value.shape)
                describe(top.outputs[0], f"{value.name}.largest", ir.DataType.FLOAT, ir.Shape([]))
                probe.graph.insert_after(node, [size, top])
                names.append(str(value.name))
                tops.append(top.outputs[0])
    session = _start(probe, tops, folder)
    found = np.zeros(len(names))
    for input_ids in batches_without_padding(token_ids):
        found = np.maximum(found, np.array(session.run(None, _feeds(session, input_ids))))
    largest = dict(zip(names, found.tolist(), strict=True))
    for name, source in moved:
        if source in largest:
            largest[name] = largest[source]
    return largest


def batches_without_padding(token_ids: Sequence[Sequence[int]]) -> Iterator[NDArray[np.int64]]:
    """`input_ids` [batch, sequence] of texts of one length each, shortest first: no padding is ever observed."""
    by_length: dict[int, list[Sequence[int]]] = defaultdict(list)
    for ids in token_ids:
        if ids:
            by_length[len(ids)].append(ids)
    for length, group in sorted(by_length.items()):
        step = max(TOKENS_PER_BATCH // length, 1)
        for start in range(0, len(group), step):
            yield np.array(group[start : start + step], dtype=np.int64)


def _start(probe: ir.Model, outputs: Sequence[ir.Value], folder: Path) -> onnxruntime.InferenceSession:
    """A session of the graph up to `outputs`; its file lies in `folder`, beside the data that it shares, until then."""
    probe.graph.outputs[:] = outputs
    RemoveUnusedNodesPass()(probe)
    path = folder / "probe.onnx"
    try:
        ir.save(probe, path)
        return start_session(path)
    finally:
        path.unlink(missing_ok=True)


def _feeds(session: onnxruntime.InferenceSession, input_ids: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
    feeds = {"input_ids": input_ids, "attention_mask": np.ones_like(input_ids)}
    return {value.name: feeds[value.name] for value in session.get_inputs()}
