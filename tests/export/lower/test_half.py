"""fp16 and bf16 on weights that leave fp16's range: nothing infinite, nothing that is not a number, and as good."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spladert import ExportError
from spladert.bundle import open_bundle
from support.checkpoints import with_outliers

torch = pytest.importorskip("torch", reason="needs the export extra: pip install 'spladert[export]'")
onnx = pytest.importorskip("onnx", reason="needs the export extra: pip install 'spladert[export]'")
ort = pytest.importorskip("onnxruntime")

import onnx_ir as ir  # noqa: E402
from onnx import TensorProto, helper  # noqa: E402

from spladert_export import export  # noqa: E402
from spladert_export.lower import half  # noqa: E402
from spladert_export.lower.cuda import lower_for_cuda  # noqa: E402
from spladert_export.lower.emulate import emulate_half  # noqa: E402
from spladert_export.lower.half import to_half  # noqa: E402
from support.gpu_graphs import padded_batch, rewritten, run  # noqa: E402

ALL = ("cuda-fp16", "cuda-bf16", "tensorrt-fp16", "tensorrt-int8")


def test_the_cpu_provider_hides_overflow_and_the_emulation_shows_it(tmp_path: Path) -> None:
    """Why fidelity is measured with an emulation: on CPU, this fp16 graph never holds an fp16 number inside."""
    nodes = [
        helper.make_node("Cast", ["x"], ["half"], to=TensorProto.FLOAT16),
        helper.make_node("Mul", ["half", "half"], ["square"]),  # 90,000 is beyond fp16
        helper.make_node("Mul", ["square", "small"], ["less"]),
        helper.make_node("Cast", ["less"], ["y"], to=TensorProto.FLOAT),
    ]
    small = onnx.numpy_helper.from_array(np.array(0.001, np.float16), "small")
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y"))
    inner = [helper.make_tensor_value_info(n, TensorProto.FLOAT16, [1]) for n in ("half", "square", "less")]
    graph = helper.make_graph(nodes, "overflow", [x], [y], [small], value_info=inner)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)

    def result(model: Any) -> float:
        session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        return float(session.run(None, {"x": np.array([300], np.float32)})[0][0])

    assert result(proto) == pytest.approx(90, rel=1e-2)
    model = ir.serde.deserialize_model(proto)
    emulate_half(model)
    assert result(ir.serde.serialize_model(model)) == np.inf
    with np.errstate(over="ignore"):
        assert np.float16(300) * np.float16(300) * np.float16(0.001) == np.inf


def test_outlier_channels_are_finite_and_as_good(tiny_checkpoint: Path, tmp_path: Path, calibration: Path) -> None:
    """Channels 20 times as large where the layers read them, undone in the weights there."""
    loud = with_outliers(tiny_checkpoint, tmp_path / "loud")
    out = export(loud, tmp_path / "out", variants=ALL, calibration=calibration, allow_loss=True)
    for variant in open_bundle(out).manifest.variants:
        assert np.isfinite(variant.fidelity["max_weight_error"])
        assert variant.fidelity["top10_overlap"] > (0.9 if variant.precision == "int8" else 0.97)


def test_a_residual_beyond_fp16_stays_fp32(tiny_checkpoint: Path, tmp_path: Path, calibration: Path) -> None:
    """Massive activations: the residual leaves fp16's range, its norms do not; without the rule nothing is left."""
    huge = with_massive_residual(tiny_checkpoint, tmp_path / "huge")
    names = ("cpu-fp32", "cuda-fp16", "cuda-bf16")
    out = export(huge, tmp_path / "out", variants=names, calibration=calibration, allow_loss=True).path
    _, variant, brain = open_bundle(out).manifest.variants
    assert set(variant.settings["too_large_for_fp16"]) >= {"layers.1.mlp.output", "layers.1.mlp.residual"}
    assert "layers.0.mlp.residual" not in variant.settings["too_large_for_fp16"]
    assert variant.settings["fp32_nodes"]["SkipLayerNormalization"] > 0
    assert variant.fidelity["top10_overlap"] > 0.9
    assert "SkipLayerNormalization" not in brain.settings["fp32_nodes"]  # bf16 has the range
    assert brain.fidelity["top10_overlap"] > 0.9

    batch = padded_batch(32)
    expected = run(out / "cpu-fp32.onnx", *batch)
    kept = rewritten(out / "cuda-fp16.onnx", tmp_path / "kept.onnx", emulate_half)
    assert np.abs(run(kept, *batch) - expected).max() < 0.1

    def naive(model: ir.Model) -> None:
        to_half(model, wide=())

    lost = rewritten(out / "cpu-fp32.onnx", tmp_path / "lost.onnx", lower_for_cuda, naive, emulate_half)
    assert not np.abs(run(lost, *batch) - expected).max() < 0.1


def test_a_layer_with_a_weight_beyond_fp16_stays_fp32(tiny_checkpoint: Path, tmp_path: Path, calibration: Path) -> None:
    from transformers import AutoModelForMaskedLM

    loud = Path(shutil.copytree(tiny_checkpoint, tmp_path / "loud"))
    model = AutoModelForMaskedLM.from_pretrained(loud)
    with torch.no_grad():
        model.model.layers[1].mlp.Wo.weight[3, 5] = 1e5
    model.save_pretrained(loud)
    out = export(loud, tmp_path / "out", variants=("cpu-fp32", "cuda-fp16"), calibration=calibration).path
    variant = open_bundle(out).manifest.variants[1]
    assert variant.settings["fp32_nodes"]["MatMul"] == 1
    assert variant.fidelity["top10_overlap"] > 0.97
    graph = ir.load(out / "cpu-fp32.onnx")
    lower_for_cuda(graph)
    with pytest.raises(ExportError, match=r"weight .* reaches 1e\+05, and fp16 holds at most 65504"):
        to_half(graph, wide=())  # had nobody looked at the ranges


def test_a_product_of_values_beyond_fp16_is_fp32(tiny_checkpoint: Path, tmp_path: Path, calibration: Path) -> None:
    """The gated half of an MLP is beyond the range, and its product with small weights is not."""
    from transformers import AutoModelForMaskedLM

    loud = Path(shutil.copytree(tiny_checkpoint, tmp_path / "loud"))
    model = AutoModelForMaskedLM.from_pretrained(loud)
    with torch.no_grad():
        mlp = model.model.layers[1].mlp
        mlp.Wi.weight[mlp.Wi.weight.shape[0] // 2 :] *= 1e6
        mlp.Wo.weight /= 1e6
    model.save_pretrained(loud)
    out = export(loud, tmp_path / "out", variants=("cpu-fp32", "cuda-fp16"), calibration=calibration).path
    variant = open_bundle(out).manifest.variants[1]
    assert variant.settings["fp32_nodes"]["MatMul"] == 2  # the gate's other half, and the product
    assert variant.settings["fp32_nodes"]["Mul"] >= 1
    assert variant.fidelity["top10_overlap"] > 0.97
    assert variant.fidelity["max_weight_error"] < 0.1


def test_the_mask_hides_and_stays_in_range() -> None:
    assert np.exp(np.float32(half.MASK)) == 0
    assert np.isfinite(np.float16(half.MASK) + np.float16(half.MASK))


def with_massive_residual(folder: Path, out: Path) -> Path:
    """Three channels of the residual stream grow to over 1e5, as massive activations of large models do."""
    from transformers import AutoModelForMaskedLM

    shutil.copytree(folder, out)
    model = AutoModelForMaskedLM.from_pretrained(out)
    with torch.no_grad():
        for layer in model.model.layers[1:]:
            layer.mlp.Wo.weight[torch.tensor([3, 17, 31])] *= 2e5
            half_rows = layer.mlp.Wi.weight.shape[0] // 2
            layer.mlp.Wi.weight[half_rows:] *= 50
    model.save_pretrained(out)
    return out
