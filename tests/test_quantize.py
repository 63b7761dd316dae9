"""int8: what it must keep, and that each step does what it says."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkpoints import ARCHITECTURES, LINES, make_checkpoint
from spladert import ExportError, SparseEncoder
from spladert.bundle import open_bundle
from spladert.session import choose_variant, int8_is_exact

torch = pytest.importorskip("torch", reason="needs the export extra: pip install 'spladert[export]'")
onnx = pytest.importorskip("onnx", reason="needs the export extra: pip install 'spladert[export]'")

import onnx_ir as ir  # noqa: E402

from spladert_export import export, pipeline  # noqa: E402
from spladert_export.quantize import int8 as int8_module  # noqa: E402
from spladert_export.quantize import observe, quantize_int8  # noqa: E402
from spladert_export.quantize.int8 import activation_scale, quantize_weight  # noqa: E402
from spladert_export.quantize.sites import find_sites  # noqa: E402
from spladert_export.quantize.smooth import divide, find_fold, smoothing_factors  # noqa: E402

exact_int8 = pytest.mark.skipif(not int8_is_exact(), reason="this CPU has no VNNI: its int8 products saturate")
floats = st.floats(-1e4, 1e4, width=32)


@pytest.fixture
def calibration(tmp_path: Path) -> Path:
    path = tmp_path / "calibration.txt"
    path.write_text("\n".join(LINES), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def both(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(
        tiny_checkpoint, tmp_path_factory.mktemp("int8") / "both", precisions=("fp32", "int8"), allow_loss=True
    )


@exact_int8
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_passes_the_quality_gate(architecture: str, tmp_path: Path, calibration: Path) -> None:
    source = make_checkpoint(architecture, tmp_path / architecture)
    bundle = export(source, tmp_path / "bundle", precisions=("int8",), calibration=calibration)
    variant = open_bundle(bundle).manifest.variants[0]
    assert variant.fidelity["top10_overlap"] >= pipeline.LEAST_OVERLAP
    assert sorted(p.name for p in bundle.iterdir()) == [
        "cpu-int8.onnx",
        "cpu-int8.onnx.data",
        "spladert.json",
        "tokenizer.json",
    ]
    operators = [node.op_type for node in onnx.load(bundle / "cpu-int8.onnx", load_external_data=False).graph.node]
    assert operators.count("MatMul") == len(variant.settings["kept_fp32"]) <= 1
    assert "Gemm" not in operators


def test_int8_is_taken_where_it_is_exact_and_fp32_elsewhere(
    both: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    manifest = open_bundle(both).manifest
    monkeypatch.setattr("spladert.session.int8_is_exact", lambda: True)
    assert choose_variant(manifest, "cpu", None).name == "cpu-int8"
    assert choose_variant(manifest, "cpu", "fp32").name == "cpu-fp32"
    monkeypatch.setattr("spladert.session.int8_is_exact", lambda: False)
    assert choose_variant(manifest, "cpu", None).name == "cpu-fp32"
    assert not caplog.records
    assert choose_variant(manifest, "cpu", "int8").name == "cpu-int8"
    assert "this CPU has no VNNI" in caplog.text


def test_a_vector_does_not_depend_on_its_batch(both: Path) -> None:
    encoder = SparseEncoder.load(both, precision="int8")
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


def with_outliers(folder: Path, out: Path) -> Path:
    """The same function with channels 20 times as large where the layers read them, undone in the weights there."""
    from transformers import AutoModelForMaskedLM

    shutil.copytree(folder, out)
    model = AutoModelForMaskedLM.from_pretrained(out)
    channels = torch.tensor([3, 17, 31])
    with torch.no_grad():
        for number, layer in enumerate(model.model.layers):
            if number:
                layer.attn_norm.weight[channels] *= 20
                layer.attn.Wqkv.weight[:, channels] /= 20
            layer.mlp_norm.weight[channels] *= 20
            layer.mlp.Wi.weight[:, channels] /= 20
            half = layer.mlp.Wi.weight.shape[0] // 2
            layer.mlp.Wi.weight[half + channels] *= 20
            layer.mlp.Wo.weight[:, channels] /= 20
    model.save_pretrained(out)
    return out


@exact_int8
def test_outlier_channels_cost_nothing(
    tiny_checkpoint: Path, tmp_path: Path, calibration: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Smoothing brings the layers' error back to what it is without outliers; without it, it is far larger."""
    loud = with_outliers(tiny_checkpoint, tmp_path / "loud")

    def error(source: Path, name: str) -> float:
        bundle = export(source, tmp_path / name, precisions=("int8",), calibration=calibration, allow_loss=True)
        return max(float(site["error"]) for site in open_bundle(bundle).manifest.variants[0].settings["sites"])

    plain, smoothed = error(tiny_checkpoint, "plain"), error(loud, "smoothed")
    monkeypatch.setattr(int8_module, "STRENGTHS", (None,))
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
    choices = quantize_int8(graph, observed, [kept])
    assert kept not in {choice.site for choice in choices}
    assert [node.op_type for node in graph.graph].count("MatMul") == 1  # the attention's output


def test_a_variant_that_loses_too_much_is_refused(
    tiny_checkpoint: Path, tmp_path: Path, calibration: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "LEAST_OVERLAP", 1.01)
    monkeypatch.setattr(pipeline, "ATTEMPTS", (0, 2))
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
    assert np.abs(integers.astype(int)).max() == 127
    assert (np.abs(integers * scales - weight) <= scales * 0.501).all()


def test_smoothing_factors_follow_the_paper() -> None:
    from spladert_export.quantize.calibrate import Observed

    high = np.array([1.0, 4.0], np.float32)
    observed = Observed(low=-high, high=high, rows=np.zeros((1, 2), np.float32))
    factors = smoothing_factors(observed, np.array([[2.0], [2.0]], np.float32), 0.5)
    assert factors[1] / factors[0] == pytest.approx(2.0)  # sqrt(4 / 1)
    assert factors.prod() == pytest.approx(1.0)
