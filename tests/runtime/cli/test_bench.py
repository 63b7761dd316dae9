from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from spladert.cli import main

QUICK = ["bench", "--lengths", "8", "--batch-sizes", "2,2", "--callers", "1", "--seconds", "0", "--device", "cpu"]


def test_json_takes_the_place_of_the_tables(tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("계약서\n\n손해배상\n", encoding="utf-8")
    arguments = [*QUICK, "--variant", "cpu-int8", "--threads", "1", "--no-spin", "--texts", str(tmp_path / "texts.txt")]
    result = CliRunner().invoke(main, [*arguments, "--json", "-"])
    assert result.exit_code == 0, result.stderr
    facts = json.loads(result.stdout)
    assert (facts["variant"], facts["threads"], facts["spin"]) == ("cpu-int8", 1, False)
    assert facts["mix"] == "2 texts of the caller's"
    assert [one["batch_size"] for one in facts["throughput"]] == [2]
    assert "latency of texts of 8 tokens" in result.stderr


def test_tables_a_plot_and_json_of_a_bundle(tiny_bundle: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs the bench extra: pip install 'spladert[bench]'")
    plot, facts = tmp_path / "plot.svg", tmp_path / "facts.json"
    result = CliRunner().invoke(main, [*QUICK, str(tiny_bundle), "--plot", str(plot), "--json", str(facts)])
    assert result.exit_code == 0, result.stderr
    assert "cpu-fp32 on cpu by ONNX Runtime" in result.stdout
    assert "Latency of one text, ms" in result.stdout
    assert json.loads(facts.read_text(encoding="utf-8"))["variant"] == "cpu-fp32"
    assert plot.read_text(encoding="utf-8").startswith("<?xml")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--lengths", "8,x"], 2, "'8,x' is no list of numbers such as 1,8,32"),
        (["--batch-sizes", "0"], 2, "'0' is no list of numbers"),
        (["--callers", ""], 2, "'' is no list of numbers"),
        (["--variant", "cpu-fp8"], 1, "error: the bundle has no variant 'cpu-fp8' for cpu"),
        (["--lengths", "100"], 1, "error: a text of 100 tokens is beyond this bundle's max_length, 64"),
        (["nowhere"], 1, "error: nowhere does not exist here"),
    ],
)
def test_what_cannot_be_measured_is_one_clear_error(arguments: list[str], code: int, message: str) -> None:
    result = CliRunner().invoke(main, [*QUICK, *arguments])
    assert result.exit_code == code
    assert message in result.stderr
    assert "start" not in result.stderr  # nothing was measured


def test_a_plot_that_cannot_be_written_is_refused_first(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs the bench extra: pip install 'spladert[bench]'")
    result = CliRunner().invoke(main, [*QUICK, "--plot", str(tmp_path / "plot.doc")])
    assert result.exit_code == 1
    assert "plot.doc cannot be plotted to" in result.stderr
