"""The Triton repository, its config read by Triton's own protobuf."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("onnx", reason="needs the export extra: pip install 'spladert[export]'")

import onnx
from onnx import TensorProto, helper

from spladert import BundleError, SparseEncoder
from spladert.cli import main
from spladert.engine.session import start_session
from spladert_export.package.triton import config_pbtxt

TYPES = {"TYPE_INT64": TensorProto.INT64, "TYPE_INT32": TensorProto.INT32, "TYPE_FP32": TensorProto.FLOAT}


def parsed(text: str) -> Any:
    config = pytest.importorskip(
        "tritonclient.grpc.model_config_pb2", reason="needs Triton's protobuf: pip install 'tritonclient[grpc]'"
    )
    from google.protobuf import text_format

    return text_format.Parse(text, config.ModelConfig())


def package(*arguments: str) -> Any:
    return CliRunner().invoke(main, ["package", *arguments])


def test_the_config_is_that_of_the_graph(tiny_bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "models"
    result = package(
        *(str(tiny_bundle), "--target", "triton", "--output", str(out), "--name", "ko-splade", "--batch-size", "16")
    )
    assert result.exit_code == 0, result.output
    config = parsed((out / "ko-splade" / "config.pbtxt").read_text(encoding="utf-8"))
    assert (config.name, config.backend, config.max_batch_size) == ("ko-splade", "onnxruntime", 16)
    assert config.HasField("dynamic_batching")
    [group] = config.instance_group
    assert group.kind == group.KIND_CPU
    kinds = type(config).DESCRIPTOR.file.enum_types_by_name["DataType"].values_by_number
    path = out / "ko-splade" / "1" / config.default_model_filename
    graph = onnx.load(path, load_external_data=False).graph
    for described, tensors in ((config.input, graph.input), (config.output, graph.output)):
        found = {one.name: one.type.tensor_type for one in tensors}
        assert {one.name for one in described} == set(found)
        for one in described:
            tensor = found[one.name]
            assert TYPES[kinds[one.data_type].name] == tensor.elem_type
            batch, *rest = tensor.shape.dim
            assert batch.dim_param, "Triton's batch is the first dimension, of any size"
            assert list(one.dims) == [dim.dim_value or -1 for dim in rest]


def test_the_graph_runs_where_it_lies_with_what_the_config_says(tiny_bundle: Path, tmp_path: Path) -> None:
    package(str(tiny_bundle), "--target", "triton", "--output", str(tmp_path))
    folder = tmp_path / "spladert"
    config = parsed((folder / "config.pbtxt").read_text(encoding="utf-8"))
    session = start_session(folder / "1" / config.default_model_filename)
    texts = ["당뇨병 치료", "계약서"]
    with SparseEncoder.load(tiny_bundle, threads=1) as encoder:
        rows = encoder.tokenize_batch(texts).input_ids
        vectors = encoder.encode(texts)
    for row, vector in zip(rows, vectors, strict=True):
        feed = {"input_ids": np.array([row], np.int64), "attention_mask": np.ones((1, len(row)), np.int64)}
        indices, values = session.run([one.name for one in config.output], feed)
        assert indices[0][values[0] > 0].tolist() == vector.indices.tolist()
    assert (folder / "tokenizer.json").read_bytes() == (tiny_bundle / "tokenizer.json").read_bytes()


def test_what_is_there_stays(tiny_bundle: Path, tmp_path: Path) -> None:
    first, second = (package(str(tiny_bundle), "--target", "triton", "--output", str(tmp_path)) for _ in range(2))
    assert first.exit_code == 0
    assert second.exit_code == 1
    assert "exists" in second.output
    other = package(str(tiny_bundle), "--target", "triton", "--output", str(tmp_path), "--name", "other")
    assert other.exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--variant", "absent"], "no variant 'absent'; it has "),
        (["--server", "http://a"], "--server is not for --target triton"),
        (["--batch-size", "0"], "0 is not in the range"),
    ],
)
def test_what_cannot_be_packaged(tiny_bundle: Path, tmp_path: Path, arguments: list[str], message: str) -> None:
    result = package(str(tiny_bundle), "--target", "triton", "--output", str(tmp_path / "a"), *arguments)
    assert result.exit_code != 0
    assert message in result.output
    assert not (tmp_path / "a").exists()


def test_standard_output_takes_no_folder(tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = package(str(tiny_bundle), "--target", "triton", "--output", "-")
    assert result.exit_code == 2
    assert "name a file or folder" in result.output
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"ids": ["batch", "sequence"]}, "instead of input_ids, attention_mask"),
        ({"input_ids": [1, "sequence"], "attention_mask": ["batch", "sequence"]}, "input_ids is not a matrix"),
        ({"input_ids": ["batch"], "attention_mask": ["batch", "sequence"]}, "input_ids is not a matrix"),
    ],
)
def test_another_graph(tmp_path: Path, inputs: dict[str, list[Any]], message: str) -> None:
    tensors = [helper.make_tensor_value_info(name, TensorProto.INT64, shape) for name, shape in inputs.items()]
    path = tmp_path / "graph.onnx"
    onnx.save(helper.make_model(helper.make_graph([], "g", tensors, [])), path)
    with pytest.raises(BundleError, match=message):
        config_pbtxt(path, "name", 4, gpu=False)
