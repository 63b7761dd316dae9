"""int8: what it must keep, and that each step does what it says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spladert import ExportError, SparseEncoder
from spladert.bundle import open_bundle
from spladert.engine.session import choose_variant
from support.checkpoints import ARCHITECTURES, LINES, make_checkpoint, with_outliers

torch = pytest.importorskip("torch", reason="needs the export extra: pip install 'spladert[export]'")
onnx = pytest.importorskip("onnx", reason="needs the export extra: pip install 'spladert[export]'")

import onnx_ir as ir  # noqa: E402
from spladert_export.quantize.edit import WEIGHT_LIMIT, quantize_weight  # noqa: E402

from spladert_export import cpu_variants, export  # noqa: E402
from spladert_export.quality import gate  # noqa: E402
from spladert_export.quantize import make_plans, observe, quantize, search  # noqa: E402
from spladert_export.quantize.int4 import BLOCK, quantize_blocks, replace_int4  # noqa: E402
from spladert_export.quantize.int8 import activation_scale  # noqa: E402
from spladert_export.quantize.sites import find_sites  # noqa: E402
from spladert_export.quantize.smooth import divide, find_fold, smoothing_factors  # noqa: E402

floats = st.floats(-1e4, 1e4, width=32)


@pytest.fixture(scope="module")
def both(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(
        tiny_checkpoint, tmp_path_factory.mktemp("int8") / "both", precisions=("fp32", "int8", "int4"), allow_loss=True
    )


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_passes_the_quality_gate(architecture: str, tmp_path: Path, calibration: Path) -> None:
    source = make_checkpoint(architecture, tmp_path / architecture)
    bundle = export(source, tmp_path / "bundle", precisions=("int8",), calibration=calibration)
    variant = open_bundle(bundle).manifest.variants[0]
    assert variant.fidelity["top10_overlap"] >= gate.LEAST_OVERLAP
    assert sorted(p.name for p in bundle.iterdir()) == [
        "cpu-int8.onnx",
        "cpu-int8.onnx.data",
        "spladert.json",
        "tokenizer.json",
    ]
    operators = [node.op_type for node in onnx.load(bundle / "cpu-int8.onnx", load_external_data=False).graph.node]
    assert operators.count("MatMul") == len(variant.settings["kept_fp32"]) <= 2
    assert "Gemm" not in operators


def test_int8_is_taken_where_nothing_else_is_asked_for(both: Path) -> None:
    manifest = open_bundle(both).manifest
    assert choose_variant(manifest, "cpu", None).name == "cpu-int8"
    for precision in ("fp32", "int4"):
        assert choose_variant(manifest, "cpu", precision).name == f"cpu-{precision}"


def test_the_largest_integers_do_not_saturate() -> None:
    """x86 without VNNI adds pairs of u8 * s8 in 16 bits: with 8-bit weights this product is wrong there."""
    from onnx import TensorProto, helper
    from onnxruntime import InferenceSession

    rows, columns = 64, 32
    node = helper.make_node("MatMulInteger", ["x", "w"], ["y"])
    x = helper.make_tensor_value_info("x", TensorProto.UINT8, [None, rows])
    y = helper.make_tensor_value_info("y", TensorProto.INT32, [None, columns])
    weight = np.full((rows, columns), WEIGHT_LIMIT, np.int8)
    graph = helper.make_graph([node], "product", [x], [y], [onnx.numpy_helper.from_array(weight, "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    session = InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    largest = np.full((3, rows), 255, np.uint8)
    np.testing.assert_array_equal(session.run(None, {"x": largest})[0], rows * 255 * WEIGHT_LIMIT)


@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_a_vector_does_not_depend_on_its_batch(both: Path, precision: str) -> None:
    encoder = SparseEncoder.load(both, precision=precision)
    texts = [*LINES, "", "당뇨병", "x" * 500]
    for text, vector in zip(texts, encoder.encode(texts, batch_size=len(texts)), strict=True):
        alone = encoder.encode(text).to_dict()
        assert set(alone) == set(vector.to_dict())
        assert alone == pytest.approx(vector.to_dict(), abs=1e-5)


def test_embedding_and_decoder_are_one_int8_matrix(both: Path) -> None:
    model = onnx.load(both / "cpu-int8.onnx", load_external_data=False)
    place = {t.name: {e.key: e.value for e in t.external_data} for t in model.graph.initializer}
    gather = next(n for n in model.graph.node if n.op_type == "Gather" and n.input[0].endswith(".high"))
    tile = next(n for n in model.graph.node if n.op_type == "QGemm")
    assert place[gather.input[0]]["offset"] == place[tile.input[3]]["offset"]
    sizes = {f.name: f.bytes for v in open_bundle(both).manifest.variants for f in v.files}
    assert sizes["cpu-int8.onnx.data"] < sizes["cpu-fp32.onnx.data"] * 0.8


def test_outlier_channels_cost_nothing(
    tiny_checkpoint: Path, tmp_path: Path, calibration: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Smoothing brings the layers' error back to what it is without outliers; without it, it is far larger."""
    loud = with_outliers(tiny_checkpoint, tmp_path / "loud")

    def error(source: Path, name: str) -> float:
        bundle = export(source, tmp_path / name, precisions=("int8",), calibration=calibration, allow_loss=True)
        return max(float(site["error"]) for site in open_bundle(bundle).manifest.variants[0].settings["sites"])

    plain, smoothed = error(tiny_checkpoint, "plain"), error(loud, "smoothed")
    monkeypatch.setattr(search, "STRENGTHS", (None,))
    naive = error(loud, "naive")
    assert smoothed < 1.2 * plain
    assert naive > 5 * smoothed


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_smoothing_changes_nothing_that_is_computed(architecture: str, tmp_path: Path) -> None:
    """Folded factors of very different sizes leave the fp32 graph's vectors as they were."""
    bundle = export(make_checkpoint(architecture, tmp_path / architecture), tmp_path / "bundle")
    encoder = SparseEncoder.load(bundle)
    before = encoder.encode(LINES)
    graph = ir.load(bundle / "cpu-fp32.onnx")
    folded = 0
    for site in find_sites(graph):
        fold = find_fold(site)
        if fold is not None:
            factors = np.geomspace(0.2, 5.0, site.linears[0].weight.shape[0], dtype=np.float32)
            divide(graph.graph, fold, site, factors)
            folded += 1
    assert folded >= (8 if architecture == "modernbert" else 3)
    from onnxruntime import InferenceSession

    ir.save(graph, bundle / "smoothed.onnx")
    encoder._session = InferenceSession(bundle / "smoothed.onnx")
    for old, new in zip(before, encoder.encode(LINES), strict=True):
        assert new.to_dict() == pytest.approx(old.to_dict(), abs=1e-4)


def test_calibration_sees_no_padding_and_every_channel(tiny_bundle: Path) -> None:
    long, short = [2, *range(5, 30), 3], [2, 9, 3]
    together = observe(tiny_bundle / "cpu-fp32.onnx", [long, short])
    alone = [observe(tiny_bundle / "cpu-fp32.onnx", [ids]) for ids in (long, short)]
    assert len(together) == len(find_sites(ir.load(tiny_bundle / "cpu-fp32.onnx"))) == 4 * 3 + 2
    for name, seen in together.items():
        np.testing.assert_allclose(seen.low, np.minimum(alone[0][name].low, alone[1][name].low), atol=1e-5)
        np.testing.assert_allclose(seen.high, np.maximum(alone[0][name].high, alone[1][name].high), atol=1e-5)
        assert seen.rows.shape == (len(long) + len(short), len(seen.low))
    assert sorted(path.name for path in tiny_bundle.iterdir() if path.name.startswith("observed")) == []


def test_layers_kept_in_fp32(tiny_bundle: Path) -> None:
    graph = ir.load(tiny_bundle / "cpu-fp32.onnx")
    observed = observe(tiny_bundle / "cpu-fp32.onnx", [[2, *range(5, 40), 3]])
    kept = find_sites(graph)[1].name
    plans = make_plans(graph, observed, "int8")
    assert plans.pop(kept).choice.site == kept
    quantize(graph, plans, "int8")
    assert [node.op_type for node in graph.graph].count("MatMul") == 1  # the attention's output


def test_a_variant_that_loses_too_much_is_refused(
    tiny_checkpoint: Path, tmp_path: Path, calibration: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "LEAST_OVERLAP", 1.01)
    monkeypatch.setattr(cpu_variants, "ATTEMPTS", (0, 2))
    stages: list[str] = []
    arguments: Any = {"precisions": ("int8",), "calibration": calibration}
    with pytest.raises(ExportError, match=r"int8 variant keeps \d+\.\d\d% .*or accept it with --allow-loss"):
        export(tiny_checkpoint, tmp_path / "out", progress=stages.append, **arguments)
    assert "quantize int8, 2 layers kept in fp32" in stages
    assert not (tmp_path / "out").exists()
    export(tiny_checkpoint, tmp_path / "out", allow_loss=True, **arguments)
    manifest = json.loads((tmp_path / "out" / "spladert.json").read_text(encoding="utf-8"))
    assert manifest["variants"][0]["fidelity"]["top10_overlap"] <= 1


@pytest.mark.parametrize(("content", "message"), [(b"", "the file is empty"), (b"\xff\xfe\xff", "give a UTF-8 file")])
def test_bad_calibration_texts(tiny_checkpoint: Path, tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "texts.txt"
    path.write_bytes(content)
    with pytest.raises(ExportError, match=message):
        export(tiny_checkpoint, tmp_path / "out", precisions=("int8",), calibration=path)


@pytest.mark.parametrize("precisions", [(), ("int3",), ("fp32", "fp8")])
def test_unknown_precision(tiny_checkpoint: Path, tmp_path: Path, precisions: tuple[str, ...]) -> None:
    with pytest.raises(ExportError, match="is not known; use fp32 or int8"):
        export(tiny_checkpoint, tmp_path / "out", precisions=precisions)


@given(floats, floats)
def test_an_activation_range_holds_zero_exactly(a: float, b: float) -> None:
    low, high = min(a, b), max(a, b)
    scale, zero_point = activation_scale(low, high)
    assert 0 <= zero_point <= 255
    assert (0 - zero_point) * scale <= min(low, 0) + scale
    assert (255 - zero_point) * scale >= max(high, 0) - scale


@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_weights_come_back_within_half_a_step(rows: int, columns: int, seed: int) -> None:
    weight = np.random.default_rng(seed).standard_normal((rows, columns)).astype(np.float32)
    integers, scales = quantize_weight(weight)
    assert np.abs(integers.astype(int)).max() == WEIGHT_LIMIT
    assert (np.abs(integers * scales - weight) <= scales * 0.501).all()


@given(st.integers(1, 100), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_blocks_of_4_bits_come_back_within_a_step(rows: int, columns: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    weight = random.standard_normal((rows, columns)).astype(np.float32)
    blocks = quantize_blocks(weight, random.random(rows, dtype=np.float32))
    assert blocks.integers.max() <= 15
    assert blocks.zero_points.max() <= 15
    step = np.repeat(blocks.scales[:, 0], BLOCK, axis=0)[:rows]
    inside = (blocks.integers.reshape(-1, columns)[:rows] % 15) > 0  # a shrunk range cuts what is at its ends
    assert (np.abs(blocks.weight(rows) - weight) <= step * 0.501)[inside].all()


@pytest.mark.parametrize("rows", [32, 96, 100])  # whole blocks, an odd number of them, a part of one
def test_the_kernel_reads_4_bits_as_they_are_packed(rows: int) -> None:
    """The operator's product is the one with the weights that the blocks stand for."""
    from onnxruntime import InferenceSession

    random = np.random.default_rng(rows)
    weight = random.standard_normal((rows, 6)).astype(np.float32) + 0.3  # zero points that differ
    x, w = ir.Value(name="x", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape([4, rows])), ir.tensor(weight)
    constant = ir.Value(name="w", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape(weight.shape), const_value=w)
    product = ir.node("MatMul", [x, constant])
    product.outputs[0].name, product.outputs[0].type = "y", ir.TensorType(ir.DataType.FLOAT)
    product.outputs[0].shape = ir.Shape([4, 6])
    identity = ir.node("Identity", product.outputs)
    identity.outputs[0].name, identity.outputs[0].type = "out", ir.TensorType(ir.DataType.FLOAT)
    identity.outputs[0].shape = ir.Shape([4, 6])
    opsets = {"": 21, "com.microsoft": 1}
    graph = ir.Graph([x], identity.outputs, nodes=[product, identity], initializers=[constant], opset_imports=opsets)
    model = ir.Model(graph, ir_version=10)
    importance = np.ones(rows, np.float32)
    replace_int4(graph, find_sites(model)[0], importance)
    session = InferenceSession(ir.to_proto(model).SerializeToString(), providers=["CPUExecutionProvider"])
    given = random.standard_normal((4, rows)).astype(np.float32)
    expected = given @ quantize_blocks(weight, importance).weight(rows)
    found = session.run(None, {"x": given})[0]
    assert np.linalg.norm(found - expected) < 0.02 * np.linalg.norm(expected)  # activations are rounded to int8


def test_int4_keeps_the_vectors_close(both: Path) -> None:
    bundle = open_bundle(both)
    variant = next(v for v in bundle.manifest.variants if v.precision == "int4")
    operators = [node.op_type for node in onnx.load(both / "cpu-int4.onnx", load_external_data=False).graph.node]
    # query, key, value, output, and three of the MLP in each of 3 layers, and the dense layer of the head
    assert operators.count("MatMulNBits") + operators.count("MatMul") == 3 * 7 + 1
    assert operators.count("MatMulNBits") >= 3 * 7 - 3 * len(variant.settings["kept_fp32"])
    whole = SparseEncoder.load(both, precision="fp32").encode(LINES)
    small = SparseEncoder.load(both, precision="int4").encode(LINES)
    for exact, close in zip(whole, small, strict=True):
        assert len(set(exact.indices[:10].tolist()) & set(close.indices[:10].tolist())) >= 7


def test_a_variant_that_retrieves_worse_is_refused(
    tiny_checkpoint: Path, tmp_path: Path, calibration: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ir_measures", reason="needs the evaluate extra: pip install 'spladert[evaluate]'")
    folder = tmp_path / "set"
    folder.mkdir()
    texts = [{"_id": str(n), "text": line} for n, line in enumerate(LINES)]
    lines = "".join(json.dumps(text) + "\n" for text in texts)
    for name in ("corpus.jsonl", "queries.jsonl"):
        (folder / name).write_text(lines, encoding="utf-8")
    judged = "".join(f"{n}\t{n}\t1\n" for n in range(len(LINES)))
    (folder / "qrels.tsv").write_text(f"query-id\tcorpus-id\tscore\n{judged}", encoding="utf-8")
    arguments: Any = {"precisions": ("int8",), "calibration": calibration, "evaluate": folder}
    bundle = export(tiny_checkpoint, tmp_path / "good", **arguments)
    report = open_bundle(bundle).manifest.variants[0].fidelity
    assert report["ndcg_kept"] == report["ndcg_at_10"] / report["fp32_ndcg_at_10"]
    monkeypatch.setattr(gate, "LEAST_NDCG", 1.01)
    monkeypatch.setattr(cpu_variants, "ATTEMPTS", (8,))  # close enough to fp32 for the overlap to be no reason
    with pytest.raises(ExportError, match=r"int8 variant has nDCG@10 .* of fp32's .*--allow-loss"):
        export(tiny_checkpoint, tmp_path / "out", **arguments)
    export(tiny_checkpoint, tmp_path / "out", allow_loss=True, **arguments)


def test_smoothing_factors_follow_the_paper() -> None:
    from spladert_export.quantize.calibrate import Observed

    high = np.array([1.0, 4.0], np.float32)
    observed = Observed(low=-high, high=high, rows=np.zeros((1, 2), np.float32))
    factors = smoothing_factors(observed, np.array([[2.0], [2.0]], np.float32), 0.5)
    assert factors[1] / factors[0] == pytest.approx(2.0)  # sqrt(4 / 1)
    assert factors.prod() == pytest.approx(1.0)
