"""int8 and int4 of whole graphs: what they must keep, and what becomes of each layer."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spladert import ExportError, SparseEncoder
from spladert.bundle import open_bundle
from spladert.engine import Machine, PlacementRequest, candidates
from spladert.engine.session import CPU
from support.checkpoints import ARCHITECTURES, LINES

pytest.importorskip("torch", reason="needs the export extra: pip install 'spladert[export]'")
onnx = pytest.importorskip("onnx", reason="needs the export extra: pip install 'spladert[export]'")

from spladert_export import Limits, export  # noqa: E402
from spladert_export.material import Material  # noqa: E402
from spladert_export.quantize.schemes import fallback_order, plan_int4, plan_int8  # noqa: E402
from spladert_export.quantize.search import Choice  # noqa: E402


@pytest.fixture(scope="module")
def both(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("int8") / "both"
    return export(tiny_checkpoint, out, variants=("cpu-fp32", "cpu-int8", "cpu-int4"), allow_loss=True).path


def operators(bundle: Path, name: str) -> list[str]:
    return [node.op_type for node in onnx.load(bundle / f"{name}.onnx", load_external_data=False).graph.node]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_passes_the_quality_gate(architecture: str, bundle_of: Callable[[str], Path]) -> None:
    bundle = bundle_of(architecture)
    variant = open_bundle(bundle).manifest.variants[1]
    assert variant.fidelity["top10_overlap"] >= Limits().top10_overlap
    assert sorted(p.name for p in bundle.iterdir()) == [
        *("cpu-fp32.onnx", "cpu-fp32.onnx.data", "cpu-int8.onnx", "cpu-int8.onnx.data"),
        *("spladert.json", "tokenizer.json"),
    ]
    made = operators(bundle, "cpu-int8")
    assert made.count("MatMul") == len(variant.settings["kept_fp32"]) <= 2
    assert "Gemm" not in made


def test_int8_is_taken_where_nothing_else_is_asked_for(both: Path) -> None:
    manifest, machine = open_bundle(both).manifest, Machine((CPU,))

    def taken(asked: str | None) -> str:
        return candidates(manifest, PlacementRequest("cpu", asked), machine)[0].variant.name

    assert taken(None) == "cpu-int8"
    assert [taken(name) for name in ("fp32", "cpu-fp32", "int4", "cpu-int4")] == ["cpu-fp32"] * 2 + ["cpu-int4"] * 2


@pytest.mark.parametrize("variant", ["cpu-int8", "cpu-int4"])
def test_a_vector_does_not_depend_on_its_batch(both: Path, variant: str) -> None:
    encoder = SparseEncoder.load(both, variant=variant)
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


def test_int4_keeps_the_vectors_close(both: Path) -> None:
    variant = next(v for v in open_bundle(both).manifest.variants if v.name == "cpu-int4")
    made = operators(both, "cpu-int4")
    # query, key, value, output, and three of the MLP in each of 3 layers, and the dense layer of the head
    assert made.count("MatMulNBits") + made.count("MatMul") == 3 * 7 + 1
    assert made.count("MatMulNBits") >= 3 * 7 - 3 * len(variant.settings["kept_fp32"])
    whole = SparseEncoder.load(both, variant="cpu-fp32").encode(LINES)
    small = SparseEncoder.load(both, variant="cpu-int4").encode(LINES)
    for exact, close in zip(whole, small, strict=True):
        assert len(set(exact.indices[:10].tolist()) & set(close.indices[:10].tolist())) >= 7


@pytest.mark.parametrize("plan", [plan_int8, plan_int4])
def test_a_layer_that_is_kept_stays_a_product_of_floats(material: Material, plan: Callable[[Material], Any]) -> None:
    made = plan(material)
    for kept, products in ((), 0), (("layers.0.attention.output",), 1), (("layers.1.attention.qkv", "head.dense"), 4):
        draft = made.build(kept)
        assert [node.op_type for node in draft.graph.graph].count("MatMul") == products
        assert draft.settings["kept_fp32"] == list(kept)
        assert not set(kept) & {site["site"] for site in draft.settings["sites"]}
    before = [node.op_type for node in material.fp32.graph]
    assert before.count("MatMul") == 22  # what it was made of is as it was


def test_the_heads_layer_goes_back_first_then_the_worst() -> None:
    errors = {"layers.0.mlp.output": 0.1, "layers.1.mlp.output": 0.3, "head.dense": 0.01, "layers.2.mlp.input": 0.2}
    choices = [Choice(site, None, 1.0, 1.0, 0, error) for site, error in errors.items()]
    assert fallback_order(choices) == (
        *("head.dense", "layers.1.mlp.output", "layers.2.mlp.input", "layers.0.mlp.output"),
    )


def test_more_layers_stay_fp32_where_int8_loses_too_much(
    tiny_checkpoint: Path, tmp_path: Path, calibration: Path
) -> None:
    stages: list[str] = []
    arguments: Any = {"variants": ("cpu-int8",), "calibration": calibration}
    arguments["limits"] = Limits(top10_overlap=1.01, attempts=(0, 2))
    with pytest.raises(ExportError, match=r"cpu-int8 variant keeps \d+\.\d\d% .*or accept it with --allow-loss"):
        export(tiny_checkpoint, tmp_path / "out", progress=stages.append, **arguments)
    assert "make cpu-int8, 2 layers kept wider" in stages
    assert not (tmp_path / "out").exists()
    [variant] = export(tiny_checkpoint, tmp_path / "out", allow_loss=True, **arguments).variants
    assert len(variant.settings["kept_fp32"]) == 2
    assert variant.fidelity["top10_overlap"] < 1.01


def test_a_variant_that_retrieves_worse_is_refused(tiny_checkpoint: Path, tmp_path: Path, calibration: Path) -> None:
    pytest.importorskip("ir_measures", reason="needs the evaluate extra: pip install 'spladert[evaluate]'")
    folder = tmp_path / "set"
    folder.mkdir()
    texts = [{"_id": str(n), "text": line} for n, line in enumerate(LINES)]
    lines = "".join(json.dumps(text) + "\n" for text in texts)
    for name in ("corpus.jsonl", "queries.jsonl"):
        (folder / name).write_text(lines, encoding="utf-8")
    judged = "".join(f"{n}\t{n}\t1\n" for n in range(len(LINES)))
    (folder / "qrels.tsv").write_text(f"query-id\tcorpus-id\tscore\n{judged}", encoding="utf-8")
    arguments: Any = {"variants": ("cpu-int8",), "calibration": calibration, "evaluate": folder}
    report = export(tiny_checkpoint, tmp_path / "good", **arguments).variants[0].fidelity
    assert report["ndcg_kept"] == report["ndcg_at_10"] / report["fp32_ndcg_at_10"]
    arguments["limits"] = Limits(ndcg_kept=1.01)
    with pytest.raises(ExportError, match=r"cpu-int8 variant has nDCG@10 .* of fp32's .*--allow-loss"):
        export(tiny_checkpoint, tmp_path / "out", **arguments)


@pytest.mark.parametrize(("content", "message"), [(b"", "the file is empty"), (b"\xff\xfe\xff", "give a UTF-8 file")])
def test_bad_calibration_texts(tiny_checkpoint: Path, tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "texts.txt"
    path.write_bytes(content)
    with pytest.raises(ExportError, match=message):
        export(tiny_checkpoint, tmp_path / "out", variants=("cpu-int8",), calibration=path)


def test_weights_are_the_same_in_every_attempt(material: Material) -> None:
    """They are quantized once; an attempt only chooses which of them it takes."""
    plan = plan_int8(material)

    def weights(kept: tuple[str, ...]) -> dict[str, Any]:
        constants = plan.build(kept).graph.graph.initializers
        return {name: c.const_value.numpy() for name, c in constants.items() if name.endswith(".weight.int8")}

    whole, without = weights(()), weights(("layers.2.mlp.output",))
    assert len(whole) == len(without) + 1
    for name, weight in without.items():
        np.testing.assert_array_equal(weight, whole[name])
