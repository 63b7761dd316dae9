"""The edits that rewrites are made of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the export extra: pip install 'spladert[export]'")
ir = pytest.importorskip("onnx_ir", reason="needs the export extra: pip install 'spladert[export]'")
ort = pytest.importorskip("onnxruntime")

from spladert_export.graph.edit import change_constant, describe, initializer, replace_node  # noqa: E402
from spladert_export.graph.writer import write_graph  # noqa: E402

WEIGHT = np.arange(6, dtype=np.float32).reshape(2, 3)
X = np.array([[1, 2], [3, 4]], np.float32)


@pytest.fixture
def model() -> ir.Model:
    """y = relu(x @ w) and z = x @ w by two products that share w."""
    x = ir.Value(name="x")
    describe(x, "x", ir.DataType.FLOAT, ir.Shape([2, 2]))
    graph = ir.Graph([x], [], nodes=[], opset_imports={"": 21}, name="two products")
    weight = initializer(graph, "w", WEIGHT)
    first, second = ir.node("MatMul", [x, weight]), ir.node("MatMul", [x, weight])
    relu = ir.node("Relu", first.outputs)
    for node, name in ((first, "p"), (second, "z"), (relu, "y")):
        describe(node.outputs[0], name, ir.DataType.FLOAT, ir.Shape([2, 3]))
    graph.extend([first, second, relu])
    graph.outputs.extend([relu.outputs[0], second.outputs[0]])
    return ir.Model(graph, ir_version=10)


def run(model: ir.Model) -> list[np.ndarray]:
    session = ort.InferenceSession(ir.to_proto(model).SerializeToString(), providers=["CPUExecutionProvider"])
    return list(session.run(None, {"x": X}))


def test_an_initializer_is_made_once(model: ir.Model) -> None:
    first = initializer(model.graph, "scale", np.array(0.5, np.float32))
    assert first.shape == ir.Shape([])  # a scalar stays one
    assert initializer(model.graph, "scale", np.array(0.7, np.float32)) is first
    columns = np.asfortranarray(WEIGHT)
    np.testing.assert_array_equal(initializer(model.graph, "turned", columns).const_value.numpy(), WEIGHT)


def test_views_of_a_tensor_share_their_bytes_in_the_file(model: ir.Model, tmp_path: Path) -> None:
    table = torch.arange(4096, dtype=torch.float32).reshape(64, 64)
    initializer(model.graph, "whole", table)
    initializer(model.graph, "part", table[32:])
    _, data = write_graph(model, tmp_path / "graph.onnx")
    assert data.stat().st_size == table.numel() * 4


def test_one_readers_copy_of_a_constant_is_changed(model: ir.Model) -> None:
    product = model.graph[0]
    computed = []

    def double(data: np.ndarray) -> np.ndarray:
        computed.append(data.shape)
        return data * 2

    change_constant(model.graph, product, 1, "w.doubled", double)
    assert computed == []  # not before it is read
    relu, plain = run(model)
    np.testing.assert_array_equal(relu, 2 * X @ WEIGHT)
    np.testing.assert_array_equal(plain, X @ WEIGHT)
    change_constant(model.graph, product, 1, "w.quadrupled", double)  # a change of what was changed
    np.testing.assert_array_equal(run(model)[0], 4 * X @ WEIGHT)


def test_a_replaced_node_leaves_its_name_and_readers_to_the_last_new_one(model: ir.Model) -> None:
    product = model.graph[1]
    negative = ir.node("Neg", [product.inputs[0]])
    new = [negative, ir.node("MatMul", [negative.outputs[0], product.inputs[1]])]
    replace_node(model.graph, product, new)
    assert [output.name for output in model.graph.outputs] == ["y", "z"]
    assert product not in list(model.graph)
    np.testing.assert_array_equal(run(model)[1], -X @ WEIGHT)
