from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from spladert.cli import main
from spladert.engine.machine import instruction_sets
from spladert.errors import DependencyError


def test_a_bundle_is_described(tiny_bundle: Path) -> None:
    result = CliRunner().invoke(main, ["inspect", str(tiny_bundle)])
    assert result.exit_code == 0
    for part in (
        "ModernBertForMaskedLM",
        "64 tokens",
        "cpu-fp32 on cpu: ",
        "fidelity.max_weight_error",
        "CPUExecution",
    ):
        assert part in result.stdout
    assert result.stdout.count("intact") == 2
    assert "NOT" not in result.stdout


def test_json_has_the_manifest_and_the_machine(tiny_bundle: Path) -> None:
    facts = json.loads(CliRunner().invoke(main, ["inspect", str(tiny_bundle), "--json", "-"]).stdout)
    assert facts["manifest"] == json.loads((tiny_bundle / "spladert.json").read_text())
    assert facts["files"] == {"tokenizer": None, "cpu-fp32": None}
    assert facts["runtime"]["variant"] == "cpu-fp32"
    assert "CPUExecutionProvider" in facts["runtime"]["providers"]


@pytest.mark.parametrize(
    ("sets", "reason"),
    [
        (["avx2"], "exact without VNNI too, which this CPU does not have"),
        (["avx2", "avx512_vnni"], "exact with avx512_vnni, which this CPU has"),
        (["asimd", "asimddp"], "exact with asimddp, which this CPU has"),
    ],
)
def test_it_says_why_int8_runs_here(sets: list[str], reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spladert.cli.inspect.instruction_sets", lambda: sets)
    runtime = json.loads(CliRunner().invoke(main, ["inspect", "--json", "-"]).stdout)["runtime"]
    assert runtime["variant"] == "cpu-int8"
    assert runtime["instruction_sets"] == sets
    assert runtime["why"].endswith(reason)


@pytest.mark.parametrize(
    ("cpuinfo", "sets"),
    [
        ("flags\t\t: fpu avx2 avx512f avx512_vnni\nflags\t\t: fpu avx2\n", ["avx2", "avx512f", "avx512_vnni"]),
        ("Features\t: fp asimd asimddp i8mm\n", ["asimd", "asimddp", "i8mm"]),
        ("model name\t: avx2\n", []),
        (None, []),
    ],
)
def test_instruction_sets_are_read_from_the_system(
    cpuinfo: str | None, sets: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if cpuinfo is not None:
        (tmp_path / "cpuinfo").write_text(cpuinfo)
    monkeypatch.setattr("spladert.engine.machine.Path", lambda path: tmp_path / "cpuinfo")
    assert instruction_sets() == sets


@pytest.mark.parametrize("damage", ["cut", "altered", "removed"])
def test_a_damaged_file_is_named_and_exits_with_1(tiny_bundle: Path, tmp_path: Path, damage: str) -> None:
    copy = shutil.copytree(tiny_bundle, tmp_path / "copy")
    graph = copy / "cpu-fp32.onnx"
    content = graph.read_bytes()
    graph.unlink()
    if damage != "removed":
        graph.write_bytes(content[:100] if damage == "cut" else content[:-1] + bytes([content[-1] ^ 1]))
    result = CliRunner().invoke(main, ["inspect", str(copy), "--json", "-"])
    assert result.exit_code == 1
    facts = json.loads(result.stdout)
    assert facts["files"]["tokenizer"] is None
    assert "cpu-fp32.onnx" in facts["files"]["cpu-fp32"]
    assert result.stderr.startswith(f"error: {copy} is not intact: ")
    assert "NOT INTACT" in CliRunner().invoke(main, ["inspect", str(copy)]).stdout


def test_it_works_without_onnxruntime(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise DependencyError("onnxruntime cannot be imported: pip install 'spladert[cpu]'")

    monkeypatch.setattr("spladert.cli.inspect.onnxruntime_module", missing)
    result = CliRunner().invoke(main, ["inspect", str(tiny_bundle)])
    assert result.exit_code == 0
    assert "none: onnxruntime cannot be imported" in result.stdout


def test_what_is_no_bundle_is_refused(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["inspect", str(tmp_path)])
    assert result.exit_code == 1
    assert "is not a bundle" in result.stderr
