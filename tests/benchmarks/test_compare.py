"""One small comparison from end to end."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from spladert.bundle.open import DEFAULT_BUNDLE
from support.paths import ROOT

CHECKPOINT = ROOT / "training" / "korean-splade-small"


def compare(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.compare", str(CHECKPOINT), str(DEFAULT_BUNDLE), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


def test_compare_from_end_to_end(tmp_path: Path, sentences: Path) -> None:
    pytest.importorskip("torch", reason="needs the export extra: pip install 'spladert[export]'")
    results = tmp_path / "results.json"
    common = [
        "--texts", str(sentences), "--work", str(tmp_path / "work"), "--json", str(results), "--threads", "1",
    ]  # fmt: skip

    def go_on(*arguments: str) -> tuple[dict[str, Any], str]:
        done = compare(*common, "--mix-texts", "40", *arguments)
        assert done.returncode == 0, done.stderr
        return json.loads(results.read_text(encoding="utf-8")), done.stdout

    content, _ = go_on("--engines", "pytorch,spladert cpu-int8,openvino bf16", "--measures", "agreement")
    assert content["agreement"]["pytorch"] == {"texts": 64, "overlap": 1.0, "weight_error": 0.0}
    assert 0.9 < content["agreement"]["spladert cpu-int8"]["overlap"] <= 1.0
    assert "openvino bf16" in content["not_run"]

    # Each call goes on with the file of the one before, here with one engine and other shapes.
    begun = time.monotonic()
    quick = ["--engines", "spladert cpu-int8", "--rounds", "1", "--seconds", "0.02"]
    go_on(*quick, "--measures", "shapes,mix", "--shapes", "1 x 8,8 x 8")
    content, table = go_on(*quick, "--measures", "shapes", "--shapes", "1 x 16")
    seconds = time.monotonic() - begun
    assert list(content["engines"]) == ["spladert cpu-int8"]
    assert content["agreement"]["pytorch"]["texts"] == 64
    figures = content["engines"]["spladert cpu-int8"]
    assert list(figures["shapes"]) == ["1 x 8", "1 x 16", "8 x 8"]
    assert content["rounds"] == len(content["raw"]["spladert cpu-int8"]["shapes"]) == 2
    assert 0 < figures["mix_s"] < seconds
    assert 0 < figures["cold_start_s"] < seconds
    assert "| engine | 1 x 8 | 1 x 16 | 8 x 8 |" in table
    assert str(ROOT) not in json.dumps(content)

    done = compare(*common, *quick, "--mix-texts", "39")
    assert done.returncode == 1
    assert "was made with another settings (mix_texts)" in done.stderr
