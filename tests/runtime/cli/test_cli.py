from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from spladert import __version__
from spladert.cli import main

NO_EXPORT = """
import sys
from pathlib import Path
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "transformers", "onnx", "onnxscript", "spladert_export"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Block())
from spladert.cli import main
main()
"""


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)


def test_help_lists_every_command_without_the_export_extra() -> None:
    result = python(NO_EXPORT, "--help")
    assert result.returncode == 0
    for name in ("encode", "inspect", "evaluate", "export", "verify"):
        assert f"\n  {name} " in result.stdout


@pytest.mark.parametrize("command", ["export", "verify"])
def test_a_command_without_its_packages_names_the_extra(command: str) -> None:
    result = python(NO_EXPORT, command, "--help")
    assert result.returncode == 1
    assert result.stderr.startswith("error: ")
    assert "pip install 'spladert[cpu,export]'" in result.stderr
    assert "Traceback" not in result.stderr


def test_encoding_imports_no_other_commands_packages() -> None:
    code = "import sys, spladert.cli.encode, spladert.cli.inspect; print([m for m in sys.modules])"
    modules = python(code).stdout
    for name in ("torch", "transformers", "onnx", "scipy", "pyarrow", "ir_measures"):
        assert f"'{name}'" not in modules


def test_importing_spladert_brings_no_command_line() -> None:
    modules = python("import sys, spladert; print([m for m in sys.modules])").stdout
    for name in ("click", "rich", "scipy", "filelock"):
        assert f"'{name}'" not in modules


def test_version_and_unknown_command() -> None:
    assert __version__ in CliRunner().invoke(main, ["--version"]).stdout
    result = CliRunner().invoke(main, ["frobnicate"])
    assert result.exit_code == 2
    assert "No such command" in result.stderr


def test_facts_that_cannot_be_written_are_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("당뇨병\n", encoding="utf-8")
    facts, output = tmp_path / "nowhere" / "facts.json", tmp_path / "out.jsonl"
    asked = ["encode", "--input", str(tmp_path / "in.txt"), "--output", str(output), "--json", str(facts)]
    result = CliRunner().invoke(main, asked)
    assert result.exit_code == 2
    assert f"there is no folder {facts.parent} that can be written to" in result.stderr.replace("\n", " ")
    assert not output.exists()
