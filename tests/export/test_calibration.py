"""What is observed of a graph on calibration texts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch", reason="needs the export extra: pip install 'spladert[export]'")
onnx = pytest.importorskip("onnx", reason="needs the export extra: pip install 'spladert[export]'")
ort = pytest.importorskip("onnxruntime")

import onnx_ir as ir  # noqa: E402

from spladert_export.calibration import (  # noqa: E402
    TOKENS_PER_BATCH,
    Observed,
    batches_without_padding,
    largest_values,
    observe,
)
from spladert_export.quantize.sites import find_sites  # noqa: E402


@given(st.lists(st.lists(st.integers(0, 9), max_size=40), max_size=30))
def test_batches_hold_every_text_once_and_no_padding(rows: list[list[int]]) -> None:
    batches = list(batches_without_padding(rows))
    assert sorted(ids for batch in batches for ids in batch.tolist()) == sorted(ids for ids in rows if ids)
    assert all(batch.size <= TOKENS_PER_BATCH for batch in batches)


def test_calibration_sees_no_padding_and_every_channel(tiny_bundle: Path) -> None:
    graph = ir.load(tiny_bundle / "cpu-fp32.onnx")
    activations = [site.activation for site in find_sites(graph)]
    assert len(activations) == 4 * 3 + 2
    before = sum(1 for _ in graph.graph)
    long, short = [2, *range(5, 30), 3], [2, 9, 3]

    def seen(*rows: list[int]) -> list[Observed]:
        return observe(graph, activations, tiny_bundle, rows)

    for both, one, other in zip(seen(long, short), seen(long), seen(short), strict=True):
        np.testing.assert_allclose(both.low, np.minimum(one.low, other.low), atol=1e-5)
        np.testing.assert_allclose(both.high, np.maximum(one.high, other.high), atol=1e-5)
        assert both.rows.shape == (len(long) + len(short), len(both.low))
        assert (both.rows.min(axis=0) >= both.low).all()
    assert sum(1 for _ in graph.graph) == before
    assert not list(tiny_bundle.glob("probe*"))


def test_ranges_are_what_the_graph_reaches(tiny_bundle: Path) -> None:
    model = ir.load(tiny_bundle / "cpu-fp32.onnx")
    before = sum(1 for _ in model.graph)
    ids = [[2, *range(5, 25), 3], [2, 7, 3]]
    largest = largest_values(model, tiny_bundle, ids)
    assert sum(1 for _ in model.graph) == before
    probe = onnx.load(tiny_bundle / "cpu-fp32.onnx")
    name = next(node.output[0] for node in probe.graph.node if node.op_type == "MatMul")
    probe.graph.output.append(onnx.ValueInfoProto(name=name))
    session = ort.InferenceSession(probe.SerializeToString())
    seen = []
    for row in ids:
        array = np.array([row], np.int64)
        seen.append(np.abs(session.run([name], {"input_ids": array, "attention_mask": np.ones_like(array)})[0]).max())
    assert largest[name] == pytest.approx(max(seen), rel=1e-5)
    moved = [node for node in model.graph if node.op_type in ("Reshape", "Transpose")]
    found = [largest[str(node.outputs[0].name)] for node in moved if node.inputs[0].name in largest]
    assert found == [largest[node.inputs[0].name] for node in moved if node.inputs[0].name in largest] != []
    assert not list(tiny_bundle.glob("probe*"))
