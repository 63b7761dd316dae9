from __future__ import annotations

from benchmarks.suite.engines import PEERS, engine, engine_names
from spladert.bundle.open import DEFAULT_BUNDLE


def test_engine_names_follow_the_bundle() -> None:
    assert engine_names(DEFAULT_BUNDLE) == [*PEERS, "spladert cpu-int8"]
    assert engine("spladert cpu-int8").precision == "int8"
    assert engine("openvino bf16") is PEERS["openvino bf16"]
