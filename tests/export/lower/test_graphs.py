"""The GPU variants: what their graphs are made of, and that they compute what the CPU's fp32 graph does."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from spladert import ExportError
from spladert.bundle import open_bundle
from spladert.cli import main
from support.checkpoints import ARCHITECTURES, LAYERS, LINES, make_checkpoint

pytest.importorskip("torch", reason="needs the export extra: pip install 'spladert[export]'")
onnx = pytest.importorskip("onnx", reason="needs the export extra: pip install 'spladert[export]'")
pytest.importorskip("onnxruntime")

import onnx_ir as ir  # noqa: E402
from onnx import TensorProto  # noqa: E402

from spladert_export import Limits, export  # noqa: E402
from spladert_export.lower import half  # noqa: E402
from spladert_export.lower.cuda import lower_for_cuda  # noqa: E402
from spladert_export.lower.emulate import emulate_half  # noqa: E402
from spladert_export.lower.half import to_half  # noqa: E402
from spladert_export.lower.plain import lower_to_plain  # noqa: E402
from spladert_export.quantize import qdq  # noqa: E402
from spladert_export.variants import EMULATED  # noqa: E402
from support.gpu_graphs import padded_batch, rewritten, run  # noqa: E402

# Supported by the parser of TensorRT 10 (onnx-tensorrt, docs/operators.md), of those that our graphs could have.
TENSORRT_OPERATORS = {
    *("Add", "Cast", "Concat", "DequantizeLinear", "Div", "Equal", "Erf", "Expand", "Gather", "Gelu", "Gemm"),
    *("LayerNormalization", "Log", "MatMul", "Mul", "QuantizeLinear", "ReduceMax", "Relu", "Reshape", "Shape", "Slice"),
    *("Softmax", "Split", "Squeeze", "Sub", "Tanh", "TopK", "Transpose", "Unsqueeze", "Where"),
}
# With fp16 and fp32 kernels in the CUDA provider of onnxruntime-gpu 1.31 (and Shape, which runs on the host).
CUDA_OPERATORS = {
    *("Add", "Cast", "Concat", "Div", "Equal", "Expand", "Gather", "Gelu", "Gemm", "LayerNormalization", "Log"),
    *("MatMul", "MultiHeadAttention", "Mul", "ReduceMax", "Relu", "Reshape", "RotaryEmbedding", "Shape"),
    *("SkipLayerNormalization", "Slice", "Sub", "TopK", "Transpose", "Unsqueeze", "Where"),
}
NAMES = ("cpu-fp32", "cuda-fp16", "cuda-bf16", "tensorrt-fp16", "tensorrt-int8")


@pytest.fixture(scope="module")
def bundle(tiny_checkpoint: Path, calibration: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("gpu") / "bundle"
    return export(tiny_checkpoint, out, variants=NAMES, calibration=calibration, top_k=64, allow_loss=True).path


def graph_of(bundle: Path, name: str) -> Any:
    return onnx.load(bundle / f"{name}.onnx")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("max_length", [64, 128])  # 128 tokens are more than ModernBERT's window reaches
def test_lowered_graphs_compute_the_same_in_fp32(architecture: str, max_length: int, tmp_path: Path) -> None:
    if architecture != "modernbert" and max_length > 64:
        pytest.skip("only ModernBERT has a window")
    source = make_checkpoint(architecture, tmp_path / "source")
    cpu = export(source, tmp_path / "bundle", max_length=max_length).path / "cpu-fp32.onnx"
    batch = padded_batch(max_length)
    expected = run(cpu, *batch)
    assert (expected > 0).sum() > 50
    for lower in (lower_to_plain, lower_for_cuda):
        lowered = rewritten(cpu, tmp_path / f"{lower.__name__}.onnx", lower)
        onnx.checker.check_model(str(lowered), full_check=True)
        np.testing.assert_allclose(run(lowered, *batch), expected, atol=1e-4)
        for short, wide_operators in ((half.HALF, ()), (half.HALF, half.NORMS), (half.BRAIN, ())):

            def halve(model: ir.Model, short: Any = short, wide_operators: Any = wide_operators) -> None:
                to_half(model, wide=(), wide_operators=wide_operators, short=short)

            halved = rewritten(lowered, tmp_path / "half.onnx", halve)
            onnx.checker.check_model(str(halved), full_check=True)  # the types fit together
            emulated = rewritten(halved, tmp_path / "emulated.onnx", emulate_half)
            error = np.abs(run(emulated, *batch) - expected).max()
            assert 0 < error < 0.1


@pytest.mark.parametrize("name", NAMES[1:])
def test_inputs_and_outputs_are_the_same_for_every_target(bundle: Path, name: str) -> None:
    graph = graph_of(bundle, name).graph
    kinds = {v.name: v.type.tensor_type.elem_type for v in [*graph.input, *graph.output]}
    assert kinds == {
        "input_ids": TensorProto.INT64,
        "attention_mask": TensorProto.INT64,
        "indices": TensorProto.INT32,
        "values": TensorProto.FLOAT,
    }


class TestCuda:
    @pytest.mark.parametrize("name", NAMES[1:3])
    def test_operators(self, bundle: Path, name: str) -> None:
        model = graph_of(bundle, name)
        count = Counter(node.op_type for node in model.graph.node)
        assert set(count) <= CUDA_OPERATORS
        assert count["MultiHeadAttention"] == LAYERS
        assert (
            count["SkipLayerNormalization"] == 2 * LAYERS
        )  # after attention and after the MLP; the last is the head's
        assert {o.domain: o.version for o in model.opset_import} == {"": 23, "com.microsoft": 1}

    @pytest.mark.parametrize(
        ("name", "short"), [("cuda-fp16", TensorProto.FLOAT16), ("cuda-bf16", TensorProto.BFLOAT16)]
    )
    def test_products_are_short_and_logits_fp32(self, bundle: Path, name: str, short: int) -> None:
        model = graph_of(bundle, name)
        kinds = value_types(model)
        floats = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16)
        for node in model.graph.node:
            types = {kinds.get(value) for value in [*node.input, *node.output]} & set(floats)
            if node.op_type in ("MatMul", "MultiHeadAttention", "RotaryEmbedding"):
                assert types == {short}
            if node.op_type in ("Gemm", "ReduceMax"):  # the vocabulary: the provider has no ReduceMax of bf16
                assert types == {TensorProto.FLOAT16}
            if node.op_type == "TopK":
                assert types == {TensorProto.FLOAT}

    @pytest.mark.parametrize("name", NAMES[1:3])
    def test_decoder_and_embedding_share_their_bytes(self, bundle: Path, name: str) -> None:
        model = onnx.load(bundle / f"{name}.onnx", load_external_data=False)
        place = {t.name: {e.key: e.value for e in t.external_data} for t in model.graph.initializer}
        gather = next(node for node in model.graph.node if node.op_type == "Gather")
        gemm = next(node for node in model.graph.node if node.op_type == "Gemm")
        assert place[gather.input[0]]["offset"] == place[gemm.input[1]]["offset"]
        sizes = {f.name: f.bytes for v in open_bundle(bundle).manifest.variants for f in v.files}
        assert (
            sizes[f"{name}.onnx.data"] < sizes["cpu-fp32.onnx.data"] * 0.65
        )  # blocks are aligned to 4 KiB, much for so small a model


class TestTensorrt:
    @pytest.mark.parametrize("name", NAMES[3:])
    def test_plain_operators_of_an_opset_that_every_release_parses(self, bundle: Path, name: str) -> None:
        model = graph_of(bundle, name)
        assert {o.domain: o.version for o in model.opset_import} == {"": 20}
        assert {node.domain for node in model.graph.node} == {""}
        assert {node.op_type for node in model.graph.node} <= TENSORRT_OPERATORS
        onnx.checker.check_model(str(bundle / f"{name}.onnx"), full_check=True)

    @pytest.mark.parametrize("name", NAMES[3:])
    def test_ranks_are_static_and_k_is_a_constant(self, bundle: Path, name: str) -> None:
        inferred = onnx.shape_inference.infer_shapes(graph_of(bundle, name), data_prop=True)
        known = {v.name: v.type.tensor_type for v in [*inferred.graph.value_info, *inferred.graph.output]}
        made = [name for node in inferred.graph.node for name in node.output if name]
        assert all(known[name].HasField("shape") for name in made)
        select = next(node for node in inferred.graph.node if node.op_type == "TopK")
        constants = {t.name: onnx.numpy_helper.to_array(t) for t in inferred.graph.initializer}
        assert constants[select.input[1]].tolist() == [64]
        axes = [node.input[1] for node in inferred.graph.node if node.op_type == "ReduceMax"]
        assert axes
        assert set(axes) <= set(constants)

    @pytest.mark.parametrize("name", NAMES[3:])
    def test_norms_are_fp32(self, bundle: Path, name: str) -> None:
        model = graph_of(bundle, name)
        kinds = value_types(model)
        norms = [node for node in model.graph.node if node.op_type == "LayerNormalization"]
        assert norms
        assert {kinds[name] for node in norms for name in [*node.input, *node.output]} == {TensorProto.FLOAT}

    def test_q_and_dq_stand_before_every_product_of_the_encoder(self, bundle: Path) -> None:
        model = graph_of(bundle, "tensorrt-int8")
        makers = {name: node for node in model.graph.node for name in node.output}
        constants = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
        kept = open_bundle(bundle).manifest.variants[4].settings["kept_fp16"]
        quantized = 0
        for node in model.graph.node:
            if node.op_type not in ("MatMul", "Gemm"):
                continue
            left, right = (makers.get(name) for name in node.input[:2])
            if right is None or right.op_type != "DequantizeLinear":
                continue
            quantized += 1
            integers, scales, zeros = (constants[name] for name in right.input)
            assert integers.dtype == np.int8
            assert scales.shape == zeros.shape == (integers.shape[1],)
            assert right.attribute[0].name == "axis"
            assert right.attribute[0].i == 1
            assert not zeros.any()
            assert np.abs(integers.astype(int)).max() <= 127
            assert left is not None
            assert left.op_type == "DequantizeLinear"
            quantize = makers[left.input[0]]
            assert quantize.op_type == "QuantizeLinear"
            # fp32 where it reads a norm and fp16 where it is read, but the same number
            assert constants[quantize.input[1]] == constants[left.input[1]] > 0
            assert constants[left.input[1]].shape == ()
            assert quantize.input[2] == left.input[2]
            assert constants[left.input[2]].dtype == np.int8
            assert constants[left.input[2]] == 0
        assert "decoder" in kept
        given_back = len(kept) - 1
        assert 7 * LAYERS + 1 - 3 * given_back <= quantized <= 7 * LAYERS + 1 - given_back


def value_types(model: Any) -> dict[str, int]:
    inferred = onnx.shape_inference.infer_shapes(model)
    graph = inferred.graph
    found = {v.name: v.type.tensor_type.elem_type for v in [*graph.value_info, *graph.input, *graph.output]}
    return found | {t.name: t.data_type for t in graph.initializer}


@pytest.mark.parametrize("name", NAMES[1:])
def test_fidelity_is_measured_and_says_on_what(bundle: Path, name: str) -> None:
    variant = {v.name: v for v in open_bundle(bundle).manifest.variants}[name]
    assert variant.settings["measured_on"] == EMULATED
    assert "CPUExecutionProvider" in variant.settings["measured_on"]
    assert variant.fidelity["texts"] == len(LINES)
    assert variant.fidelity["top10_overlap"] > (0.9 if "int8" in name else 0.97)
    assert variant.fidelity["max_weight_error"] > 0  # an error of 0 would mean that nothing was rounded


def test_a_variant_that_loses_too_much_is_refused(tiny_checkpoint: Path, tmp_path: Path, calibration: Path) -> None:
    limits = Limits(top10_overlap=1.01)
    with pytest.raises(ExportError, match=r"cuda-fp16 variant keeps \d+\.\d\d% .*--allow-loss"):
        export(tiny_checkpoint, tmp_path / "out", variants=["cuda-fp16"], calibration=calibration, limits=limits)
    assert not (tmp_path / "out").exists()


def test_a_gpu_variant_alone_leaves_no_cpu_graph(tiny_checkpoint: Path, tmp_path: Path, calibration: Path) -> None:
    out = tmp_path / "out"
    arguments = ["export", str(tiny_checkpoint), str(out), "--precision", "fp16", "--calibration", str(calibration)]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in out.iterdir()) == [
        "cuda-fp16.onnx",
        "cuda-fp16.onnx.data",
        "spladert.json",
        "tokenizer.json",
    ]
    manifest = json.loads((out / "spladert.json").read_text())
    assert [(v["target"], v["precision"]) for v in manifest["variants"]] == [("cuda", "fp16")]


def test_int8_weights_come_back_within_a_step() -> None:
    random = np.random.default_rng(0)
    weight = (random.standard_normal((64, 40)) * np.geomspace(1e-6, 100, 40)).astype(np.float32)
    integers, scales = qdq.quantize_weight(weight)
    assert scales.dtype == np.float16
    assert np.abs(integers.astype(int)).max() <= 127
    assert (np.abs(integers * scales.astype(np.float32) - weight) <= scales.astype(np.float32) * 0.501).all()
