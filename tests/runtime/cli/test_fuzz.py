"""No input of the command line ends in a traceback: every one is an answer or one clear error."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from spladert.cli import main
from support.command_fuzz import CommandFuzz

SEEDS, CASES = 20, 100
SECONDS = 300  # of a case, on a machine that is busy; most take a few hundredths of one


@contextmanager
def within(seconds: int, what: str) -> Iterator[None]:
    def ring(*_: object) -> None:
        raise AssertionError(f"no end after {seconds} s: {what}")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_any_command_line_gives_an_answer_or_one_clear_error(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.chdir(tmp_path)
    fuzz = CommandFuzz(main, tiny_bundle, seed)
    for number in range(CASES):
        case = fuzz.case()
        what = f"case {number} of seed {seed}: {case.arguments!r}"
        with within(SECONDS, what):
            result = CliRunner().invoke(main, case.arguments, input=case.stdin)
        what = f"{what}\n{result.output}"
        assert result.exception is None or isinstance(result.exception, SystemExit), what
        assert result.exit_code in (0, 1, 2, 3), what
        assert "Traceback" not in result.output, what
        if result.exit_code == 1:
            assert sum(line.startswith("error: ") for line in result.stderr.splitlines()) == 1, what
        if result.exit_code == 2:
            assert "Error: " in result.stderr, what
