"""Standard input and output that are closed, full, without a reader, or not UTF-8."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.terminal import run_in_terminal

SPLADERT = [sys.executable, "-c", "from spladert.cli import main; main()"]


def run(*arguments: str, redirect: str = "", **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run spladert from a shell that redirects its streams."""
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {redirect}', "sh", *SPLADERT, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env={**os.environ, **environment},
        check=False,
    )


@pytest.mark.parametrize("arguments", [["encode", "당뇨병"], ["inspect"], ["inspect", "--json", "-"], ["--help"]])
@pytest.mark.parametrize(
    ("redirect", "message"), [(">&-", b"standard output is closed"), (">/dev/full", b"No space left on device")]
)
def test_an_output_that_takes_nothing_is_one_error(arguments: list[str], redirect: str, message: bytes) -> None:
    result = run(*arguments, redirect=redirect)
    assert result.returncode == 1
    assert result.stderr.startswith(b"error: ")
    assert message in result.stderr
    assert result.stderr.count(b"\n") == 1


def test_a_closed_standard_output_is_not_needed_for_a_file(tiny_bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    result = run("encode", "--model", str(tiny_bundle), "당뇨병", "--output", str(out), redirect="<&- >&- 2>&-")
    assert result.returncode == 0
    assert json.loads(out.read_text())["id"] == 1


def test_a_closed_standard_input_is_one_error() -> None:
    result = run("encode", "--input", "-", redirect="<&-")
    assert result.returncode == 1
    assert result.stderr == b"error: standard input is closed; name a file with --input, or open it\n"


@pytest.mark.parametrize("arguments", [["--help"], ["encode", "--help"], ["--version"], ["inspect"], ["encode", "a"]])
def test_a_reader_that_is_gone_ends_it_quietly(arguments: list[str]) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    result = subprocess.run(
        [*SPLADERT, *arguments], stdin=subprocess.DEVNULL, stdout=theirs, stderr=subprocess.PIPE, check=False
    )
    os.close(theirs)
    assert (result.returncode, result.stderr) == (141, b"")


def test_a_terminal_that_is_not_utf8_gets_bars_of_ascii(tiny_bundle: Path, tmp_path: Path) -> None:
    command = [*SPLADERT, "encode", "--model", str(tiny_bundle), "당뇨병 \u20ac\U0001f600", "--top-k", "2"]
    environment = {**os.environ, "PYTHONIOENCODING": "cp949"}
    code, text = run_in_terminal(command, tmp_path, environment, encoding="cp949")
    assert code == 0
    assert text.startswith("당뇨병 €\\U0001f600")
    assert " ####" in text
    assert "█" not in text


@pytest.mark.parametrize("encoding", ["cp949", "utf-8"])
def test_json_is_valid_in_any_encoding(tiny_bundle: Path, tmp_path: Path, encoding: str) -> None:
    bundle = tmp_path / "\U0001f600\udcff"
    bundle.symlink_to(tiny_bundle)
    result = run("inspect", str(bundle), "--json", "-", PYTHONIOENCODING=encoding)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout.decode(encoding))["path"] == str(bundle)
    written = tmp_path / "facts.json"
    assert run("inspect", str(bundle), "--json", str(written)).returncode == 0
    assert json.loads(written.read_text(encoding="utf-8"))["path"] == str(bundle)


def test_paths_that_are_no_text_can_be_shown(tiny_bundle: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "\udcff"
    bundle.symlink_to(tiny_bundle)
    result = run("inspect", str(bundle), PYTHONIOENCODING="utf-8", COLUMNS="1000")
    assert result.returncode == 0
    assert b"\\udcff" in result.stdout


@pytest.mark.parametrize(
    ("output", "named", "blocks"),
    [("a.jsonl", "vectors.jsonl", 4), ("a.npz", "indices.i32", 6), ("b.npz", "assembled", 20)],
)
def test_a_file_that_cannot_grow_is_named(tmp_path: Path, output: str, named: str, blocks: int) -> None:
    (tmp_path / "a.txt").write_text("당뇨병 치료\n" * 200, encoding="utf-8")
    command = [sys.executable, "-c", "from spladert.cli import main; main()", "encode", "--input", "a.txt"]
    limited = ["bash", "-c", f'ulimit -f {blocks} && exec "$@"', "bash", *command, "--output", output, "--no-spin"]
    done = subprocess.run(limited, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == f"error: [Errno 27] File too large: '{output}.partial/{named}'\n"
