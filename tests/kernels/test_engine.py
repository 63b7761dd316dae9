"""The whole engine on random encoders, against plain numpy: results, and that they depend on a text alone."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spladert.engine.native.description import Encoder
from spladert.engine.native.engine import NativeEngine
from spladert.errors import DeviceError, InputError
from support.encoders import BERT, LENGTHS, SHAPES, Shape, assert_near_logits, make_encoder, rows_of
from support.kernels import ISAS, Stages, abi, build


def start_engine(library: Any, encoder: Encoder, max_length: int = 160, **options: Any) -> NativeEngine:
    return NativeEngine(abi(), library, encoder, (), max_length=max_length, **options)


@pytest.fixture
def start(stages: Stages) -> Callable[..., NativeEngine]:
    def make(shape: Shape, threads: int = 1) -> NativeEngine:
        return start_engine(stages.library, make_encoder(shape), shape.max_length, isa=stages.isa, threads=threads)

    return make


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_results_are_those_of_plain_arithmetic(
    stages: Stages, start: Callable[..., NativeEngine], shape: Shape
) -> None:
    rows = rows_of(LENGTHS, shape.vocabulary)
    # With tiles, attention has 8 bits of mantissa.
    assert_near_logits(shape, rows, *start(shape).run(rows), error=0.06 if stages.isa == "amx" else 0.02)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_a_result_depends_on_its_text_alone(stages: Stages, start: Callable[..., NativeEngine], shape: Shape) -> None:
    rows = rows_of((*LENGTHS, 40, 3, 90, 8, 8, 120), shape.vocabulary)
    alone = [start(shape, 1).run([row]) for row in rows]
    for threads in (1, 2, 3, 5):
        engine = start(shape, threads)
        for order in (range(len(rows)), range(len(rows) - 1, -1, -1), [3, 11], [9, 9, 9, 9, 9, 9]):
            indices, values = engine.run([rows[i] for i in order])
            for place, i in enumerate(order):
                np.testing.assert_array_equal(indices[place], alone[i][0][0])
                np.testing.assert_array_equal(values[place], alone[i][1][0])
        engine.close()


def test_many_callers_share_the_threads(stages: Stages, start: Callable[..., NativeEngine]) -> None:
    shape = SHAPES["modernbert"]
    engine, rows = start(shape, 3), rows_of(LENGTHS * 2, shape.vocabulary)
    expected = engine.run(rows)
    wrong: list[int] = []

    def call(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for _ in range(20):
            pick = rng.permutation(len(rows))[: rng.integers(1, 9)]
            indices, values = engine.run([rows[i] for i in pick])
            if not (np.array_equal(indices, expected[0][pick]) and np.array_equal(values, expected[1][pick])):
                wrong.append(seed)

    callers = [threading.Thread(target=call, args=(seed,)) for seed in range(6)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(timeout=120)
        assert not caller.is_alive()
    assert wrong == []


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_fork_runs_while_the_parent_does(stages: Stages, start: Callable[..., NativeEngine]) -> None:
    shape = SHAPES["bert"]
    engine, rows = start(shape, 2), rows_of(LENGTHS, shape.vocabulary)
    expected = engine.run(rows)
    stop = threading.Event()

    def keep_running() -> None:
        while not stop.is_set():
            engine.run(rows)

    caller = threading.Thread(target=keep_running)
    caller.start()
    try:
        for _ in range(5):
            child = os.fork()
            if child == 0:
                indices, values = engine.run(rows)
                os._exit(0 if np.array_equal(indices, expected[0]) and np.array_equal(values, expected[1]) else 1)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        stop.set()
        caller.join()


def test_close_waits_for_calls_and_refuses_more(stages: Stages, start: Callable[..., NativeEngine]) -> None:
    shape = SHAPES["modernbert"]
    engine, rows = start(shape, 2), rows_of(LENGTHS, shape.vocabulary)
    expected, refused = engine.run(rows), threading.Event()

    def call() -> None:
        try:
            while True:
                np.testing.assert_array_equal(engine.run(rows)[0], expected[0])
        except InputError:
            refused.set()

    caller = threading.Thread(target=call)
    caller.start()
    engine.close()
    caller.join(timeout=60)
    assert refused.is_set()
    engine.close()  # again is no error


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lengths=st.lists(st.integers(1, 160), min_size=1, max_size=40), threads=st.integers(1, 4))
def test_any_mix_of_lengths_gives_each_text_its_own(
    stages: Stages, start: Callable[..., NativeEngine], lengths: list[int], threads: int
) -> None:
    shape = Shape(layers=1, vocabulary=200, window=30)
    rows = rows_of(tuple(lengths), shape.vocabulary)
    indices, values = start(shape, threads).run(rows)
    single = start(shape, 1)
    for place in {0, len(rows) // 2, len(rows) - 1}:
        one = single.run([rows[place]])
        np.testing.assert_array_equal(indices[place], one[0][0])
        np.testing.assert_array_equal(values[place], one[1][0])


@pytest.mark.parametrize(
    ("row", "message"),
    [([], "no token"), ([1] * 161, "max_length"), ([333], "vocabulary"), ([-1], "vocabulary")],
)
def test_bad_token_ids_are_refused(
    stages: Stages, start: Callable[..., NativeEngine], row: list[int], message: str
) -> None:
    engine = start(Shape())
    with pytest.raises(InputError, match=message):
        engine.run([[1, 2], row])
    assert engine.run([[1, 2]])[0].shape == (1, 20)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"heads": 3}, "heads"),
        ({"top_k": 20, "intermediate": 88}, "intermediate"),
        ({"position_pad": 200}, None),
    ],
)
def test_descriptions_that_do_not_fit_are_refused(changes: dict[str, int], message: str | None) -> None:
    library = abi().load_library(build("native"))
    encoder = replace(make_encoder(BERT if message is None else Shape()), **changes)
    with pytest.raises(DeviceError, match=message or "learned positions"):
        start_engine(library, encoder)


def test_unknown_instruction_sets_are_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    library = abi().load_library(build("native"))
    with pytest.raises(DeviceError, match=rf"sse9.*use one of {', '.join(ISAS)}"):
        start_engine(library, make_encoder(Shape()), isa="sse9")
    monkeypatch.setenv("SPLADERT_ISA", ISAS[-1])
    assert start_engine(library, make_encoder(Shape())).isa == ISAS[-1]


@pytest.mark.skipif("avx2" not in ISAS, reason="no instruction set of this processor adds with saturation")
def test_weights_of_8_bits_are_refused_where_they_would_saturate() -> None:
    library = abi().load_library(build("native"))
    encoder = make_encoder(Shape())
    encoder.layers[1].down.weight[5, 7] = 65
    with pytest.raises(DeviceError, match="8 bits"):
        start_engine(library, encoder, isa="avx2")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3e38])
@pytest.mark.parametrize("place", ["norm", "scale", "decoder", "bias", "embedding"])
def test_numbers_that_are_none_end_in_a_vector(stages: Stages, place: str, bad: float) -> None:
    """Altered weights give vectors that are wrong, and nothing worse: the hash of the file is what tells."""
    encoder = make_encoder(BERT)
    scale = encoder.layers[0].query.scale
    assert scale is not None
    arrays = {
        "norm": encoder.layers[1].after_mlp.weight,
        "scale": scale,
        "decoder": encoder.decoder.scale,
        "bias": encoder.decoder_bias,
        "embedding": encoder.words.scale,
    }
    arrays[place][::3] = bad
    indices, _ = start_engine(stages.library, encoder, isa=stages.isa).run(rows_of(LENGTHS, 333))
    assert ((indices >= 0) & (indices < 333)).all()
    assert all(len({*row}) == len(row) for row in indices.tolist())
