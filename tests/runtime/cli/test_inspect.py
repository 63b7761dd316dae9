from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from spladert.bundle import open_bundle
from spladert.cli import main
from spladert.cli.inspect import why_it_runs
from spladert.engine.machine import instruction_sets


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
def test_why_int8_runs_on_a_cpu(sets: list[str], reason: str) -> None:
    [variant] = open_bundle().manifest.variants
    assert why_it_runs("cpu", variant, sets).endswith(reason)


def test_it_says_what_runs_here_and_why() -> None:
    runtime = json.loads(CliRunner().invoke(main, ["inspect", "--json", "-"]).stdout)["runtime"]
    assert runtime["instruction_sets"] == instruction_sets()
    assert (runtime["device"], runtime["variant"], runtime["problem"]) == ("cpu", "cpu-int8", None)
    assert runtime["why"].startswith("the fastest on CPUs")


@pytest.mark.parametrize(
    ("cpuinfo", "sets"),
    [
        ("flags\t\t: fpu avx2 avx512f avx512_vnni\nflags\t\t: fpu avx2\n", ["avx2", "avx512f", "avx512_vnni"]),
        ("Features\t: fp asimd asimddp i8mm\n", ["asimd", "asimddp", "i8mm"]),
        ("model name\t: avx2\n", []),
        (None, []),
    ],
)
def test_instruction_sets_are_read_from_the_system(cpuinfo: str | None, sets: list[str], tmp_path: Path) -> None:
    if cpuinfo is not None:
        (tmp_path / "cpuinfo").write_text(cpuinfo)
    assert instruction_sets(tmp_path / "cpuinfo") == sets


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


def test_a_graph_that_does_not_load_does_not_run_here(tiny_bundle: Path, tmp_path: Path) -> None:
    """Its file is what the manifest says, and is no graph that this onnxruntime takes."""
    copy = Path(shutil.copytree(tiny_bundle, tmp_path / "copy"))
    graph = copy / "cpu-fp32.onnx"
    graph.write_bytes(graph.read_bytes().replace(b"LayerNormalization", b"LayerFantasization"))
    manifest = json.loads((copy / "spladert.json").read_text(encoding="utf-8"))
    manifest["variants"][0]["files"][0]["sha256"] = hashlib.sha256(graph.read_bytes()).hexdigest()
    (copy / "spladert.json").write_text(json.dumps(manifest), encoding="utf-8")
    runtime = json.loads(CliRunner().invoke(main, ["inspect", str(copy), "--json", "-"]).stdout)["runtime"]
    assert runtime["variant"] is None
    assert "onnxruntime cannot load" in runtime["problem"]


def test_it_works_without_onnxruntime(tiny_bundle: Path) -> None:
    code = """
import sys
sys.modules["onnxruntime"] = None  # importing it fails
from spladert.bundle import open_bundle
from spladert.cli import main
from spladert.cli.inspect import why_it_runs
main(["inspect", sys.argv[1]])
"""
    done = subprocess.run([sys.executable, "-c", code, str(tiny_bundle)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "none: onnxruntime cannot be imported" in done.stdout


def test_what_is_no_bundle_is_refused(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["inspect", str(tmp_path)])
    assert result.exit_code == 1
    assert "is not a bundle" in result.stderr
