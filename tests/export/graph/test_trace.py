"""What must be true of an exported graph, read from the graph itself."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="needs the export extra: pip install 'spladert[export]'")
ort = pytest.importorskip("onnxruntime")
pytest.importorskip("torch", reason="needs the export extra: pip install 'spladert[export]'")

from spladert_export.checkpoint import load_checkpoint  # noqa: E402
from spladert_export.graph.heads import Head  # noqa: E402
from spladert_export.graph.passes import optimize  # noqa: E402
from spladert_export.graph.trace import trace  # noqa: E402
from spladert_export.graph.writer import write_graph  # noqa: E402

BATCH, SEQUENCE = 5, 7
TILE = 48  # nine of them


@pytest.fixture(scope="module")
def many_tiles(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The graph of a checkpoint whose vocabulary needs several decoder tiles, as a real one's does."""
    return write_tiles(tiny_checkpoint, Head(), tmp_path_factory.mktemp("tiles"))


@pytest.fixture(scope="module")
def many_sum_tiles(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiles(tiny_checkpoint, Head("sum", "log1p_relu"), tmp_path_factory.mktemp("sum-tiles"))


def write_tiles(checkpoint: Path, head: Head, folder: Path) -> Path:
    model = load_checkpoint(str(checkpoint)).model
    graph = trace(model, head=head, max_length=64, top_k=20, tile=TILE)
    optimize(graph)
    return write_graph(graph, folder / "graph.onnx")[0]


def test_inputs_and_outputs(tiny_bundle: Path) -> None:
    session = ort.InferenceSession(str(tiny_bundle / "cpu-fp32.onnx"))
    assert [(i.name, i.type, i.shape) for i in session.get_inputs()] == [
        ("input_ids", "tensor(int64)", ["batch", "sequence"]),
        ("attention_mask", "tensor(int64)", ["batch", "sequence"]),
    ]
    assert [(o.name, o.type, o.shape) for o in session.get_outputs()] == [
        ("indices", "tensor(int32)", ["batch", 64]),
        ("values", "tensor(float)", ["batch", 64]),
    ]


def test_no_remark_of_a_library_is_logged(
    tiny_checkpoint: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """onnxscript warns of every operator of two outputs that it does not fold, as a sum's Split."""
    write_tiles(tiny_checkpoint, Head("sum", "relu"), tmp_path)
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert said == []


@pytest.mark.parametrize("tiles", ["many_tiles", "many_sum_tiles"])
def test_no_tensor_of_batch_times_sequence_times_vocabulary(tiles: str, request: pytest.FixtureRequest) -> None:
    """Every intermediate tensor is made an output and measured; the largest stays far below [B, S, V]."""
    model = onnx.load(request.getfixturevalue(tiles))
    vocabulary = next(tensor for tensor in model.graph.initializer if tensor.name == "head.bias").dims[0]
    names = [name for node in model.graph.node for name in node.output if name]
    outputs = {output.name for output in model.graph.output}
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in outputs)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options)
    ids = np.ones((BATCH, SEQUENCE), np.int64)
    tensors = session.run(None, {"input_ids": ids, "attention_mask": ids})
    sizes = {o.name: np.size(t) for o, t in zip(session.get_outputs(), tensors, strict=True)}
    assert len(sizes) > 60
    assert max(sizes.values()) < BATCH * SEQUENCE * vocabulary / 2
    assert not any(t.ndim == 3 and t.shape[-1] == vocabulary for t in tensors)


def test_one_fused_operator_per_layer(tiny_bundle: Path) -> None:
    from support.checkpoints import LAYERS

    count = Counter(node.op_type for node in onnx.load(tiny_bundle / "cpu-fp32.onnx").graph.node)
    assert count["Attention"] == LAYERS
    assert count["RotaryEmbedding"] == 2 * LAYERS  # queries and keys
    assert count["MatMul"] == 7 * LAYERS + 1  # query, key, value, output, gate, input, output; the head's dense
    assert not {"Split", "Softmax", "Sin", "Cos", "Loop", "Scan"} & set(count)


def test_tied_decoder_and_embedding_share_their_bytes(many_tiles: Path) -> None:
    model = onnx.load(many_tiles, load_external_data=False)
    places = {}
    for tensor in model.graph.initializer:
        entries = {entry.key: entry.value for entry in tensor.external_data}
        if entries:
            places[tensor.name] = (int(entries["offset"]), int(entries["length"]), list(tensor.dims))
    gather = next(node for node in model.graph.node if node.op_type == "Gather")
    start, length, (rows, width) = places[gather.input[0]]
    gemms = [node.input[1] for node in model.graph.node if node.op_type == "Gemm"]
    tiles = [places[name] for name in gemms if name in places]
    assert len(tiles) >= len(gemms) - 1 > 5  # the last one may be small enough to lie in the graph
    assert [offset for offset, _, _ in tiles] == [start + TILE * i * width * 4 for i in range(len(tiles))]
    assert length == rows * width * 4 > sum(size for _, size, _ in tiles[:-1])


def test_a_checkpoint_that_is_not_tied_keeps_both_matrices(tmp_path: Path) -> None:
    from spladert_export import export
    from support.checkpoints import make_checkpoint

    source = make_checkpoint("bert", tmp_path / "untied", tie_word_embeddings=False)
    bundle = export(source, tmp_path / "bundle").path  # checks itself against PyTorch
    model = onnx.load(bundle / "cpu-fp32.onnx", load_external_data=False)
    by_name = {t.name: {e.key: e.value for e in t.external_data} for t in model.graph.initializer}
    gather = next(node for node in model.graph.node if node.op_type == "Gather")
    gemm = next(node for node in model.graph.node if node.op_type == "Gemm")
    assert by_name[gather.input[0]]["offset"] != by_name[gemm.input[1]]["offset"]


def test_no_path_of_the_exporting_machine_is_inside(tiny_bundle: Path, tiny_checkpoint: Path) -> None:
    for file in tiny_bundle.iterdir():
        content = file.read_bytes()
        assert str(tiny_checkpoint.parent).encode() not in content
        assert b"site-packages" not in content


def test_log1p_keeps_small_weights() -> None:
    torch = pytest.importorskip("torch")
    from spladert_export.graph.heads import log1p

    x = torch.cat([torch.zeros(1), torch.logspace(-30, 4, 20_000, dtype=torch.float32)])
    exact = torch.log1p(x.double())
    error = ((log1p(x).double() - exact).abs() / exact.clamp_min(1e-38)).max()
    assert error < 3e-7
    assert ((torch.log(1 + x).double() - exact).abs() / exact.clamp_min(1e-38)).max() > 0.5  # why it is not that
