"""Graphs of real exports, recognized and run by the compiled engine; and graphs that it does not cover."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spladert.bundle import open_bundle
from spladert.engine.native.describe import NotCoveredError, describe
from spladert.engine.native.engine import NativeEngine
from spladert.engine.native.graph import Graph, Node, read_graph
from spladert.engine.session import start_session
from spladert.errors import SpladertError
from support.checkpoints import make_checkpoint
from support.kernels import abi, build

SIZES = {"hidden_size": 128, "num_attention_heads": 4, "intermediate_size": 256}
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "modernbert": SIZES | {"num_hidden_layers": 4, "intermediate_size": 192},
    "bert": SIZES,
    "distilbert": {"dim": 128, "n_heads": 4, "hidden_dim": 256, "activation": "relu"},
    "xlm-roberta": SIZES | {"pad_token_id": 1},
}
LAYER_TYPES = ["full_attention", "sliding_attention", "sliding_attention", "full_attention"]
DEFAULT = Path(open_bundle().path) / "cpu-int8.onnx"


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory, calibration: Path) -> Callable[[str], Path]:
    """The cpu-int8 graph of an architecture, exported once."""
    pytest.importorskip("torch", reason="needs the export extra: pip install 'spladert[export]'")
    from spladert_export import export

    made: dict[str, Path] = {}

    def make(architecture: str) -> Path:
        if architecture not in made:
            folder = tmp_path_factory.mktemp(architecture)
            changes = dict(ARCHITECTURES[architecture])
            if architecture == "modernbert":
                changes["layer_types"] = LAYER_TYPES
            checkpoint = make_checkpoint(architecture, folder / "checkpoint", **changes)
            bundle = export(
                checkpoint,
                folder / "bundle",
                max_length=300 if architecture == "modernbert" else 130,
                top_k=64,
                precisions=("int8",),
                calibration=calibration,
                allow_loss=True,
            ).path
            made[architecture] = bundle / "cpu-int8.onnx"
        return made[architecture]

    return make


def start(graph: Path, max_length: int) -> NativeEngine:
    read = read_graph(graph)
    library = abi().load_library(build("native"))
    return NativeEngine(abi(), library, describe(read), read.mappings, max_length=max_length, threads=2)


def agreement(graph: Path, engine: NativeEngine, rows: list[list[int]]) -> tuple[float, float]:
    """(share of the ten heaviest entries that ONNX Runtime has too, largest difference of a weight in both)."""
    session = start_session(graph)
    indices, values = engine.run(rows)
    shared, difference = [], 0.0
    for place, row in enumerate(rows):
        ids = np.array([row], np.int64)
        feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
        (expected,), (weights,) = session.run(["indices", "values"], feeds)
        shared.append(len({*expected[:10]} & {*indices[place, :10]}) / 10)
        theirs = dict(zip(expected.tolist(), weights.tolist(), strict=True))
        ours = dict(zip(indices[place].tolist(), values[place].tolist(), strict=True))
        difference = max([difference, *(abs(theirs[i] - ours[i]) for i in theirs.keys() & ours.keys())])
    return float(np.mean(shared)), difference


def random_rows(lengths: list[int], vocabulary: int) -> list[list[int]]:
    rng = np.random.default_rng(0)
    return [rng.integers(4, vocabulary, length).tolist() for length in lengths]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_runs_as_on_onnx_runtime(exported: Callable[[str], Path], architecture: str) -> None:
    graph = exported(architecture)
    longest = 300 if architecture == "modernbert" else 130
    engine = start(graph, longest)
    lengths = [*range(1, 20), 63, 64, 65, 129, 130, *([193, 256, 300] if longest == 300 else [])]
    vocabulary = len(describe(read_graph(graph)).words.high)
    share, difference = agreement(graph, engine, random_rows(lengths, vocabulary))
    least, most = (0.94, 0.08) if engine.isa == "amx" else (0.97, 0.05)  # AMX's attention is in bfloat16
    assert share > least
    assert difference < most


def test_what_is_described_is_what_was_exported(exported: Callable[[str], Path]) -> None:
    modernbert, bert, distilbert, roberta = (describe(read_graph(exported(name))) for name in ARCHITECTURES)
    assert [layer.window for layer in modernbert.layers] == [0, 64, 64, 0]
    assert (modernbert.post_norm, modernbert.position, modernbert.token_type) == (False, None, None)
    assert all(layer.gate is not None and layer.cos is not None for layer in modernbert.layers)
    assert (bert.post_norm, bert.position_pad, bert.activation, bert.head_size) == (True, -1, "gelu", 32)
    assert bert.token_type is not None
    assert (distilbert.activation, distilbert.head_activation, distilbert.token_type) == ("relu", "relu", None)
    assert (roberta.position_pad, len(roberta.layers)) == (1, 3)


def test_roberta_counts_positions_past_padding_tokens(exported: Callable[[str], Path]) -> None:
    graph = exported("xlm-roberta")
    rows = [[2, 1, 17, 1, 1, 30, 3], [1, 5], [9, 1]]  # a text may hold the padding token's own id
    share, difference = agreement(graph, start(graph, 130), rows)
    assert share > 0.95
    assert difference < 0.05


def test_the_model_of_the_package_runs_with_its_float_layer() -> None:
    encoder = describe(read_graph(DEFAULT))
    assert encoder.head.scale is None  # left in float32 by the gate
    rows = random_rows([*range(1, 65)], len(encoder.words.high))
    engine = start(DEFAULT, 64)
    share, difference = agreement(DEFAULT, engine, rows)
    least, most = (0.97, 0.08) if engine.isa == "amx" else (0.99, 0.05)  # AMX's attention is in bfloat16
    assert share > least
    assert difference < most


# What is not covered.


def changed(graph: Graph, change: Callable[[Node], Node]) -> Graph:
    return Graph(tuple(map(change, graph.nodes)), graph.constants, graph.outputs)


CHANGES: dict[str, tuple[Callable[[Node], Node], str]] = {
    "another activation": (lambda n: replace(n, op_type="Tanh") if n.op_type == "Gelu" else n, "Tanh"),
    "approximate GELU": (
        lambda n: replace(n, attributes={"approximate": b"tanh"}) if n.op_type == "Gelu" else n,
        "activation Gelu",
    ),
    "grouped heads": (
        lambda n: replace(n, attributes={**n.attributes, "kv_num_heads": 1}) if n.op_type == "Attention" else n,
        "grouped heads",
    ),
    "another head size": (
        lambda n: (
            replace(n, attributes={**n.attributes, "q_num_heads": 2, "kv_num_heads": 2})
            if n.op_type == "Attention"
            else n
        ),
        "rotary|head size",
    ),
    "a norm over another axis": (
        lambda n: replace(n, attributes={**n.attributes, "axis": 1}) if n.op_type == "LayerNormalization" else n,
        "axis",
    ),
    "interleaved rotary": (
        lambda n: replace(n, attributes={**n.attributes, "interleaved": 1}) if n.op_type == "RotaryEmbedding" else n,
        "interleaved",
    ),
    "a decoder of another layout": (
        lambda n: replace(n, attributes={}) if n.op_type == "QGemm" else n,
        "decoder",
    ),
}


@pytest.mark.parametrize(("change", "reason"), CHANGES.values(), ids=CHANGES)
def test_what_is_not_covered_is_named(change: Callable[[Node], Node], reason: str) -> None:
    with pytest.raises(NotCoveredError, match=reason):
        describe(changed(read_graph(DEFAULT), change))


@pytest.mark.parametrize("op_type", ["Gelu", "Log"])  # weights log(1 + log(1 + relu(x))) are not the engine's
def test_an_operator_more_is_not_overlooked(op_type: str) -> None:
    graph = read_graph(DEFAULT)
    extra = Node(op_type, ("values",), ("more",), {})
    with pytest.raises(NotCoveredError, match=f"nodes {op_type}"):
        describe(Graph((*graph.nodes, extra), graph.constants, graph.outputs))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 10**9), content=st.binary(min_size=1, max_size=4), cut=st.booleans())
def test_damaged_graphs_are_refused_or_run(tmp_path: Path, place: int, content: bytes, cut: bool) -> None:
    """Whatever bytes change, the graph is refused by an error of ours, or describes an encoder that runs."""
    whole = DEFAULT.read_bytes()
    place %= len(whole)
    path = tmp_path / "cpu-int8.onnx"
    path.write_bytes(whole[:place] if cut else whole[:place] + content + whole[place + len(content) :])
    data = tmp_path / "cpu-int8.onnx.data"
    if not data.exists():
        os.symlink(DEFAULT.with_name(data.name), data)
    with suppress(SpladertError, NotCoveredError):
        indices, values = start(path, 64).run([[2, 100, 3], [2, 3]])
        assert ((indices >= 0) & (indices < 24000)).all()
        assert (np.diff(values, axis=1) <= 0).all()
