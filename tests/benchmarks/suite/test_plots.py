from __future__ import annotations

from pathlib import Path

import pytest

from support.comparison import content_of, raw_of

pytest.importorskip("matplotlib", reason="needs the bench extra: pip install 'spladert[bench]'")

from benchmarks.suite.plots import draw


def test_plots_are_small_and_reproducible(tmp_path: Path) -> None:
    content = content_of({"pytorch": raw_of(100), "spladert cpu-int8": raw_of(10)})
    first = {path.name: path.read_bytes() for path in draw(content, tmp_path / "a")}
    assert set(first) == {"latency.svg", "throughput.svg", "floor.svg"}
    assert all(len(data) < 200_000 for data in first.values())
    assert {path.name: path.read_bytes() for path in draw(content, tmp_path / "b")} == first
    assert all(b"<svg" in data for data in first.values())


def test_there_is_no_plot_of_what_was_not_measured(tmp_path: Path) -> None:
    content = content_of({"pytorch": {"shapes": [], "mix": [{"mix_s": 10.0, "peak_mb": 400.0}]}})
    assert [path.name for path in draw(content, tmp_path)] == ["throughput.svg"]
