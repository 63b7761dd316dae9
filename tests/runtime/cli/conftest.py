from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from spladert.cli import main
from support.encode_command import LINES, Run


@pytest.fixture
def run(tiny_bundle: Path) -> Run:
    def run(*arguments: str | Path, input: str | bytes | None = None) -> Result:
        options = ["encode", "--model", str(tiny_bundle), "--threads", "1"]
        return CliRunner().invoke(main, [*options, *map(str, arguments)], input=input)

    return run


@pytest.fixture
def text_file(tmp_path: Path) -> Path:
    path = tmp_path / "in.txt"
    path.write_text("".join(f"{line}\n" for line in LINES), encoding="utf-8")
    return path
