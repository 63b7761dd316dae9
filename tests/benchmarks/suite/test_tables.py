from __future__ import annotations

from benchmarks.suite.tables import report
from support.comparison import content_of, raw_of


def test_the_report_has_every_engine_and_every_reason() -> None:
    text = report(content_of({"pytorch": raw_of(100), "spladert cpu-int8": raw_of(10)}))
    assert "| pytorch | 100 (1.0x) |" in text
    assert "| spladert cpu-int8 | 10 (10.0x) |" in text
    assert "<= 100 (6)" in text  # no p99 out of six samples
    assert "| pytorch | 5.0 | 400 | 300 | 1.50 |" in text
    assert "- openvino bf16: not on this CPU" in text
    assert "bf16 not on this CPU" in text
    assert "- other processes took 15% of the 2 cores' time" in text
    assert "torch 2." in text


def test_the_report_of_a_partial_run() -> None:
    content = content_of({"pytorch": {"shapes": [], "mix": [{"mix_s": 10.0, "peak_mb": 400.0}]}})
    text = report({**content, "floors": None})
    assert "| pytorch | 5.0 | 400 |  |  |" in text
    assert "Median latency" not in text


def test_the_report_says_what_the_engines_were_held_to() -> None:
    content = content_of({"pytorch": raw_of(100)})
    assert "masking" not in report(content)
    held = {**content, "settings": {**content["settings"], "held_to": "avx2"}}
    assert ", held to avx2 by masking CPUID; " in report(held)
