from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from spladert.cli import main
from support.datasets import write_dataset
from support.paths import ROOT

pytest.importorskip("ir_measures", reason="needs the evaluate extra: pip install 'spladert[evaluate]'")
pytest.importorskip("scipy", reason="needs the evaluate extra: pip install 'spladert[evaluate]'")

TERMS = ROOT / "benchmarks" / "terms_ko.jsonl"


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return write_dataset(tmp_path / "dataset")


def test_the_command_prints_tables_and_json(tiny_bundle: Path, dataset: Path, tmp_path: Path) -> None:
    arguments = ["evaluate", str(tiny_bundle), "--data", str(dataset), "--terms", str(TERMS), "--threads", "1"]
    result = CliRunner().invoke(main, [*arguments, "--json", str(tmp_path / "out.json")])
    assert result.exit_code == 0
    for part in ("nDCG@10", "FLOPS", "recall of expected words", "garbage outputs", "medical"):
        assert part in result.stdout
    facts = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert facts["retrieval"]["scores"]["recall_at_10"] == 1
    assert len(facts["terms"]["results"]) == 60
    assert json.loads(CliRunner().invoke(main, [*arguments, "--json", "-"]).stdout)["variant"] == "cpu-fp32"


def test_the_command_needs_something_to_measure(tiny_bundle: Path) -> None:
    result = CliRunner().invoke(main, ["evaluate", str(tiny_bundle)])
    assert result.exit_code == 2
    assert "--data" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "{data}", "--data", "{data}"], "Invalid value for '--data': is there 2 times"),
        (["--terms", str(TERMS), "--terms", str(TERMS)], "Invalid value for '--terms': is there 2 times"),
        (["--terms", str(TERMS), "--", "a", "--"], "Got unexpected extra argument (--)"),
        (["--terms", str(TERMS), "--", "a", "b"], "Got unexpected extra argument (b)"),
    ],
)
def test_what_is_there_twice_is_one_clear_error(arguments: list[str], message: str, dataset: Path) -> None:
    result = CliRunner().invoke(main, ["evaluate", *(part.format(data=dataset) for part in arguments)])
    assert result.exit_code == 2
    assert message in result.stderr


def test_what_follows_two_dashes_is_the_bundle(tiny_bundle: Path) -> None:
    result = CliRunner().invoke(main, ["evaluate", "--terms", str(TERMS), "--json", "-", "--", str(tiny_bundle)])
    assert json.loads(result.stdout)["variant"] == "cpu-fp32"
    result = CliRunner().invoke(main, ["evaluate", "--terms", str(TERMS), "--", "--"])
    assert result.exit_code == 1
    assert result.stderr.startswith("error: -- does not exist here")
