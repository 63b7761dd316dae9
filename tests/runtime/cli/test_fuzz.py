"""No input of the command line ends in a traceback: every one is an answer or one clear error."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from spladert.cli import main
from support.command_fuzz import CommandFuzz

CASES = 100


@pytest.mark.parametrize("seed", range(20))
def test_any_command_line_gives_an_answer_or_one_clear_error(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.chdir(tmp_path)
    fuzz = CommandFuzz(main, tiny_bundle, seed)
    for number in range(CASES):
        case = fuzz.case()
        result = CliRunner().invoke(main, case.arguments, input=case.stdin)
        what = f"case {number} of seed {seed}: {case.arguments!r}\n{result.output}"
        assert result.exception is None or isinstance(result.exception, SystemExit), what
        assert result.exit_code in (0, 1, 2, 3), what
        assert "Traceback" not in result.output, what
        if result.exit_code == 1:
            assert sum(line.startswith("error: ") for line in result.stderr.splitlines()) == 1, what
        if result.exit_code == 2:
            assert "Error: " in result.stderr, what
