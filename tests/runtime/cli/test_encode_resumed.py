"""Runs that were stopped, and what goes on from them."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

import pytest

from support.encode_command import COMMAND, LINES, Run, json_lines


@pytest.mark.parametrize("output_format", ["jsonl", "parquet", "npz"])
def test_a_run_killed_in_the_middle_ends_in_the_same_bytes(
    tiny_bundle: Path, tmp_path: Path, text_file: Path, run: Run, output_format: str
) -> None:
    if output_format == "parquet":
        pytest.importorskip("pyarrow")
    whole, resumed = tmp_path / f"whole.{output_format}", tmp_path / f"resumed.{output_format}"
    assert run("--input", text_file, "--output", whole).exit_code == 0
    partial = tmp_path / f"resumed.{output_format}.partial"
    assert interrupt(tiny_bundle, resumed, signal.SIGKILL)[0] == -signal.SIGKILL
    assert json.loads((partial / "state.json").read_text())["progress"]["records"] == 1024
    spool = next(path for path in partial.iterdir() if path.name.startswith(("vectors", "indices")))
    with spool.open("ab") as stream:
        stream.write(b"half of what the kill cut off")
    assert not resumed.exists()
    result = run("--input", text_file, "--output", resumed)
    assert result.exit_code == 0
    assert "1,476 lines of them now and 1,024 by an interrupted run" in result.stderr
    assert resumed.read_bytes() == whole.read_bytes()
    assert not partial.exists()


def test_an_interrupt_keeps_what_is_done(tiny_bundle: Path, tmp_path: Path, text_file: Path, run: Run) -> None:
    out = tmp_path / "out.jsonl"
    code, message = interrupt(tiny_bundle, out, signal.SIGINT)
    assert code == 130
    assert "the same command goes on from there" in message
    assert "Traceback" not in message
    assert "1,024 by an interrupted run" in run("--input", text_file, "--output", out).stderr


def interrupt(bundle: Path, out: Path, how: signal.Signals) -> tuple[int, str]:
    """(exit code, standard error) of a run that gets a signal when it has recorded one chunk and waits for more."""
    command = [*COMMAND, "--model", str(bundle), "--input", "-", "--output", str(out)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write("".join(f"{line}\n" for line in LINES[:1500]).encode())
        process.stdin.flush()
        state = out.with_name(out.name + ".partial") / "state.json"
        deadline = time.monotonic() + 60
        while not state.exists() and time.monotonic() < deadline:
            assert process.poll() is None
            time.sleep(0.02)
        time.sleep(0.1)
        process.send_signal(how)
        process.wait(30)
        _, message = process.communicate()
    return process.returncode, message.decode()


@pytest.fixture
def stopped(run: Run, tmp_path: Path, text_file: Path) -> tuple[Path, Path]:
    """(input, output) of a run that stopped at a bad line, after one chunk."""
    lines = text_file.read_bytes().split(b"\n")
    lines[1999] = b"\xff bad"
    text_file.write_bytes(b"\n".join(lines))
    out = tmp_path / "out.jsonl"
    result = run("--input", text_file, "--output", out)
    assert result.exit_code == 1
    assert result.stderr.startswith("error: line 2000: not valid UTF-8 at byte 0")
    assert not out.exists()
    return text_file, out


def test_a_bad_line_stops_and_skipping_goes_on_from_there(run: Run, stopped: tuple[Path, Path], tmp_path: Path) -> None:
    text_file, out = stopped
    result = run("--input", text_file, "--output", out, "--skip-errors")
    assert result.exit_code == 0
    assert "1,024 by an interrupted run" in result.stderr
    assert "1 bad line skipped" in result.stderr
    (error,) = json_lines((tmp_path / "out.jsonl.errors.jsonl").read_text())
    assert error["line"] == 2000
    assert isinstance(error["raw"], str)
    assert error["raw"].encode("utf-8", "surrogateescape") == b"\xff bad"
    assert [line["id"] for line in json_lines(out.read_text())] == [i for i in range(1, 2501) if i != 2000]


def test_a_corrected_line_lets_the_run_go_on(run: Run, stopped: tuple[Path, Path]) -> None:
    text_file, out = stopped
    text_file.write_bytes(text_file.read_bytes().replace(b"\xff bad", b"good"))
    assert "1,024 by an interrupted run" in run("--input", text_file, "--output", out).stderr
    assert len(out.read_text().splitlines()) == 2500


def test_a_changed_input_is_not_resumed(run: Run, stopped: tuple[Path, Path]) -> None:
    text_file, out = stopped
    text_file.write_bytes(b"another first line\n" + text_file.read_bytes())
    result = run("--input", text_file, "--output", out, "--skip-errors")
    assert result.exit_code == 1
    assert "the first 1024 records are not those that" in result.stderr
    assert "delete that folder to start over" in result.stderr
    text_file.write_text("short\n")
    assert "are not those" in run("--input", text_file, "--output", out).stderr


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (["--top-k", "5"], "top_k"),
        (["--tokens"], "tokens"),
        (["--tokens", "--top-k", "5"], "tokens and top_k"),
    ],
)
def test_other_options_are_not_resumed(run: Run, stopped: tuple[Path, Path], options: list[str], what: str) -> None:
    text_file, out = stopped
    result = run("--input", text_file, "--output", out, "--skip-errors", *options)
    assert result.exit_code == 1
    assert f"an interrupted run with a different {what}" in result.stderr


def test_another_model_is_not_resumed(run: Run, stopped: tuple[Path, Path]) -> None:
    text_file, out = stopped
    state = out.with_name("out.jsonl.partial") / "state.json"
    content = json.loads(state.read_text())
    content["job"]["model"] = "0" * 64
    state.write_text(json.dumps(content))
    assert "different model" in run("--input", text_file, "--output", out, "--skip-errors").stderr


def test_another_batch_size_may_finish_the_run(run: Run, stopped: tuple[Path, Path]) -> None:
    text_file, out = stopped
    assert run("--input", text_file, "--output", out, "--skip-errors", "--batch-size", "4").exit_code == 0


def test_a_second_process_on_the_same_output_is_refused(tiny_bundle: Path, tmp_path: Path, run: Run) -> None:
    from filelock import FileLock

    (tmp_path / "out.jsonl.partial").mkdir()
    with FileLock(tmp_path / "out.jsonl.partial" / "lock"):
        result = run("a", "--output", tmp_path / "out.jsonl")
    assert result.exit_code == 1
    assert "another process is writing" in result.stderr


def test_an_existing_output_needs_overwrite(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    out.write_text("precious")
    result = run("당뇨병", "--output", out)
    assert result.exit_code == 1
    assert "exists already" in result.stderr
    assert out.read_text() == "precious"
    assert run("당뇨병", "--output", out, "--overwrite").exit_code == 0
    assert len(json_lines(out.read_text())) == 1


def test_an_existing_side_file_needs_overwrite(run: Run, tmp_path: Path) -> None:
    side = tmp_path / "out.jsonl.errors.jsonl"
    side.write_text("precious")
    assert "exists already" in run("당뇨병", "--output", tmp_path / "out.jsonl").stderr
    assert side.read_text() == "precious"
    assert run("당뇨병", "--output", tmp_path / "out.jsonl", "--overwrite").exit_code == 0
    assert not side.exists()


def test_a_failed_run_with_nothing_done_leaves_nothing(run: Run, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text("no json\n")
    assert run("--input", tmp_path / "in.jsonl", "--output", tmp_path / "out.jsonl").exit_code == 1
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


def test_a_strange_folder_in_the_way_keeps_its_files(run: Run, tmp_path: Path) -> None:
    (tmp_path / "out.jsonl.partial").mkdir()
    (tmp_path / "out.jsonl.partial" / "mine").write_text("precious")
    assert run("당뇨병", "--output", tmp_path / "out.jsonl").exit_code == 0
    assert (tmp_path / "out.jsonl.partial" / "mine").read_text() == "precious"


def test_a_folder_of_another_format_is_not_resumed(run: Run, tmp_path: Path, text_file: Path) -> None:
    text_file.write_bytes(text_file.read_bytes() + b"\xff bad")
    out = f"{tmp_path}/out/"
    assert run("--input", text_file, "--output", out, "--format", "jsonl").exit_code == 1
    result = run("--input", text_file, "--output", out, "--format", "npz", "--skip-errors")
    assert result.exit_code == 1
    assert "an interrupted run with a different format" in result.stderr
    assert run("--input", text_file, "--output", out, "--format", "jsonl", "--skip-errors").exit_code == 0
    lines = json_lines((tmp_path / "out" / "part-00000.jsonl").read_text())
    assert [line["id"] for line in lines] == list(range(1, 2501))
