from __future__ import annotations

from importlib.util import find_spec

from benchmarks.suite.engines import PEERS, engine, engine_names, is_engine
from spladert.bundle.open import DEFAULT_BUNDLE


def test_engine_names_follow_the_bundle() -> None:
    ours = ["spladert cpu-int8"] + (["spladert cpu-int8 onnx"] if find_spec("spladert_kernels") else [])
    assert engine_names(DEFAULT_BUNDLE) == [*PEERS, *ours]
    assert engine("spladert cpu-int8").precision == "int8"
    assert engine("openvino bf16") is PEERS["openvino bf16"]


def test_a_variant_may_be_named_with_an_instruction_set() -> None:
    names = engine_names(DEFAULT_BUNDLE)
    assert all(is_engine(name, names) for name in (*names, "spladert cpu-int8 onnx", "spladert cpu-int8 avx2"))
    assert not any(is_engine(name, names) for name in ("spladert cpu-fp8", "spladert cpu-int8 mmx", "pytorch avx2"))
