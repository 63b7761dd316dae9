from __future__ import annotations

import gzip
import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from spladert import SparseEncoder
from spladert.cli import main

# A job in the background may ignore SIGINT and hand that down to the tests, and on to their commands.
HEAR = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
COMMAND = [sys.executable, "-c", f"{HEAR}; from spladert.cli import main; main()", "encode", "--threads", "1"]
LINES = [f"{i} 당뇨병 치료 방법 {i % 7}" * (i % 5) for i in range(2500)]

Run = Callable[..., Result]


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


def json_lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_texts_give_a_json_line_each(run: Run, tiny_bundle: Path) -> None:
    result = run("당뇨병", "", "계약서")
    assert result.exit_code == 0
    encoder = SparseEncoder.load(tiny_bundle, threads=1)
    for line, text in zip(json_lines(result.stdout), ["당뇨병", "", "계약서"], strict=True):
        vector = encoder.encode(text)
        assert line["indices"] == vector.indices.tolist()
        np.testing.assert_allclose(line["values"], vector.values, atol=1e-5)


def test_tokens_and_top_k(run: Run, tiny_bundle: Path) -> None:
    (line,) = json_lines(run("당뇨병", "--tokens", "--top-k", "3").stdout)
    encoder = SparseEncoder.load(tiny_bundle, threads=1)
    assert line == {"id": 1, "vector": pytest.approx(dict(encoder.decode(encoder.encode("당뇨병"), top_k=3)))}


def test_a_terminal_gets_a_list_to_read(tiny_bundle: Path) -> None:
    shown, tty = pty.openpty()
    with subprocess.Popen(
        [*COMMAND, "--model", str(tiny_bundle), "당뇨병"], stdout=tty, env={**os.environ, "COLUMNS": "80"}
    ):
        pass
    text = os.read(shown, 65_536).decode()
    assert "당뇨병" in text
    assert "dimensions" in text
    assert "█" in text
    assert "indices" not in text


@pytest.mark.parametrize(
    ("name", "content", "ids"),
    [
        ("a.txt", "당뇨병\n\n계약서\n", [1, 2, 3]),
        (
            "a.jsonl",
            '{"_id": "x", "id": "y", "text": "당뇨병"}\n\n{"id": 7, "text": ""}\n{"text": "계약서"}\n',
            ["x", 7, 4],
        ),
        ("a.csv", 'id,text\nx,당뇨병\ny,""\n"z","계약서"\n', ["x", "y", "z"]),
    ],
)
def test_inputs_keep_ids_and_order(run: Run, tmp_path: Path, name: str, content: str, ids: list[str | int]) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    lines = json_lines(run("--input", tmp_path / name).stdout)
    assert [line["id"] for line in lines] == ids
    expected = json_lines(run("당뇨병", "", "계약서").stdout)
    assert [line["indices"] for line in lines] == [line["indices"] for line in expected]


def test_rows_of_parquet_are_encoded(run: Run, tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    table = {"docid": ["x", "y"], "title": ["당뇨병", ""], "body": ["치료", "계약서"]}
    pq.write_table(pa.table(table), tmp_path / "a.parquet")
    result = run("--input", tmp_path / "a.parquet", "--field", "title", "--field", "body")
    expected = json_lines(run("당뇨병 치료", "계약서").stdout)
    assert [(line["id"], line["indices"]) for line in json_lines(result.stdout)] == [
        (key, line["indices"]) for key, line in zip(["x", "y"], expected, strict=True)
    ]


def test_ids_of_both_kinds_stay_apart_in_every_format(run: Run, tmp_path: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    (tmp_path / "in.jsonl").write_text('{"id": 1, "text": "당뇨병"}\n{"id": "1", "text": "계약서"}\n', encoding="utf-8")
    for ending in ("jsonl", "jsonl.gz", "parquet", "npz"):
        assert run("--input", tmp_path / "in.jsonl", "--output", tmp_path / f"out.{ending}").exit_code == 0
    plain = (tmp_path / "out.jsonl").read_bytes()
    assert [line["id"] for line in json_lines(plain.decode())] == [1, "1"]
    assert gzip.decompress((tmp_path / "out.jsonl.gz").read_bytes()) == plain
    assert pq.read_table(tmp_path / "out.parquet")["id"].to_pylist() == ["1", '"1"']
    with np.load(tmp_path / "out.npz") as arrays:
        assert arrays["ids"].tolist() == ["1", '"1"']


def test_a_cut_gz_keeps_what_is_before_the_cut(run: Run, tmp_path: Path) -> None:
    whole = gzip.compress("".join(f"당뇨병 {i}\n" for i in range(1500)).encode(), compresslevel=0)
    cut = tmp_path / "in.txt.gz"
    cut.write_bytes(whole[: whole.index("당뇨병 1200\n".encode()) + 4])  # in the middle of line 1,201
    result = run("--input", cut)
    assert result.exit_code == 1
    assert [line["id"] for line in json_lines(result.stdout)] == list(range(1, 1201))
    where = "line 1201: the gz data is cut here"
    assert result.stderr == f"error: {where}; the 1,200 records before it are written\n"
    out = tmp_path / "out.jsonl"
    result = run("--input", cut, "--output", out)
    assert result.exit_code == 1
    assert f"error: {where}; the 1,200 records before it are kept ({out}.partial): the same command" in result.stderr
    assert not out.exists()
    result = run("--input", cut, "--output", out, "--skip-errors")
    assert result.exit_code == 0
    assert "1,200 texts, 177 lines of them now and 1,024 by an interrupted run" in result.stderr
    assert f"the input is not whole, {where}" in result.stderr
    assert [line["id"] for line in json_lines(out.read_text())] == list(range(1, 1201))
    assert where.partition(": ")[2] in (tmp_path / "out.jsonl.errors.jsonl").read_text()


def test_a_run_over_a_cut_gz_goes_on_with_the_whole_one(run: Run, tmp_path: Path) -> None:
    whole = gzip.compress("".join(f"당뇨병 {i}\n" for i in range(1500)).encode())
    source, out = tmp_path / "in.txt.gz", tmp_path / "out.jsonl"
    source.write_bytes(whole)
    assert run("--input", source, "--output", tmp_path / "at_once.jsonl").exit_code == 0
    source.write_bytes(whole[:-900])
    assert run("--input", source, "--output", out).exit_code == 1
    source.write_bytes(whole)
    result = run("--input", source, "--output", out)
    assert "by an interrupted run" in result.stderr
    assert out.read_bytes() == (tmp_path / "at_once.jsonl").read_bytes()


def test_the_summary_as_json(run: Run, tmp_path: Path) -> None:
    source, report = tmp_path / "in.txt", tmp_path / "report.json"
    source.write_bytes("당뇨병\n".encode() + b"\xff\n" + "치료 ".encode() * 500)
    result = run("--input", source, "--output", tmp_path / "out.jsonl", "--skip-errors", "--json", report)
    assert result.exit_code == 0, result.output
    facts = json.loads(report.read_text())
    assert (facts["texts"], facts["errors"], facts["truncated"], facts["resumed"]) == (2, 1, 1, 0)
    assert facts["variant"] == "cpu-fp32"
    result = run("당뇨병", "--output", tmp_path / "more.jsonl", "--json", "-")
    assert json.loads(result.stdout)["texts"] == 1
    result = run("당뇨병", "--json", "-")
    assert result.exit_code == 2
    assert "both go to standard output" in result.stderr


def test_two_variants_are_one_too_many(run: Run) -> None:
    result = run("당뇨병", "--variant", "cpu-fp32", "--precision", "int8")
    assert result.exit_code == 2
    assert "is there 2 times (cpu-fp32, int8); give one" in result.stderr


def test_texts_that_are_cut_are_counted(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("짧은 글\n" + "치료 " * 200 + "\n" + "방법 " * 200 + "\n")
    message = "2 texts were longer than 64 tokens and were cut"
    assert message in run("--input", tmp_path / "a.txt").stderr
    assert message in run("치료 " * 200, "방법 " * 200, "짧은 글").stderr
    assert "cut" not in run("짧은 글").stderr


def test_standard_input_in_a_named_format(run: Run) -> None:
    result = run("--input", "-", "--input-format", "jsonl", "--field", "q", input='{"q": "당뇨병"}\n')
    assert [line["id"] for line in json_lines(result.stdout)] == [1]


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
    assert "1 bad lines skipped" in result.stderr
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


@pytest.mark.parametrize("through", ["pipe", "fifo"])
def test_a_live_stream_gets_each_line_as_it_comes(tiny_bundle: Path, tmp_path: Path, through: str) -> None:
    command = [*COMMAND, "--model", str(tiny_bundle), "--input", "-"]
    fifo = tmp_path / "out"
    if through == "fifo":
        os.mkfifo(fifo)
        command += ["--output", str(fifo), "--overwrite"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        with process.stdout if through == "pipe" else fifo.open("rb") as lines:
            for number in range(1, 4):
                process.stdin.write(f"당뇨병 {number}\n".encode())
                process.stdin.flush()  # the next line is not written before this one's vector is there
                assert select.select([lines], [], [], 60)[0]
                assert json.loads(lines.readline())["id"] == number
            process.stdin.close()
            assert lines.read() == b""
        assert process.wait(60) == 0


def test_bad_lines_on_standard_output(run: Run) -> None:
    result = run("--input", "-", "--input-format", "jsonl", input='{"text": "a"}\n{"text": 1}\n{"text": "b"}\n')
    assert result.exit_code == 1
    assert [line["id"] for line in json_lines(result.stdout)] == [1]
    assert "error: line 2: field 'text' holds a number" in result.stderr
    result = run("--input", "-", "--input-format", "jsonl", "--skip-errors", input='{"text": 1}\n{"text": "b"}\n')
    assert result.exit_code == 0
    assert [line["id"] for line in json_lines(result.stdout)] == [2]
    assert "skipped line 1" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give TEXTs"),
        (["a", "--input", "-"], "give TEXTs"),
        (["a", "--output", "x.npz", "--tokens"], "an npz holds ids only"),
        (["a", "--batch-size", "0"], "batch-size"),
        (["a", "--device", "tpu"], "device"),
    ],
)
def test_wrong_usage_exits_with_2(run: Run, arguments: list[str], message: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--input", "gone.txt"], "gone.txt cannot be read: No such file"),
        (["--input", "a.xlsx"], "'.xlsx' of a.xlsx says no format"),
        (["a", "--output", "nowhere/out.jsonl"], "nowhere is not a folder"),
        (["a", "--top-k", "9999"], "top_k is 9999"),
        (["a", "--precision", "int3"], "no variant 'int3'"),
        (["\udc80"], "lone surrogate"),
    ],
)
def test_errors_are_one_line_and_exit_with_1(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert result.exit_code == 1
    assert result.stderr.startswith("error: ")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_input_and_output_must_differ(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a"}\n')
    assert run("--input", path, "--output", path, "--overwrite").exit_code == 2
    assert path.read_text() == '{"text": "a"}\n'


def test_a_closed_pipe_ends_quietly(tiny_bundle: Path, text_file: Path) -> None:
    command = [*COMMAND, "--model", str(tiny_bundle), "--input", str(text_file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_how_texts_are_encoded_is_what_encode_takes(run: Run, tiny_bundle: Path) -> None:
    long = " ".join(LINES)
    arguments = [
        "--side",
        "query",
        "--max-length",
        "8",
        "--split-special-tokens",
        "--top-k",
        "9",
        "--prune",
        "max_ratio:0.8",
    ]
    line = json.loads(run("[SEP] " + long, *arguments).stdout)
    vector = SparseEncoder.load(tiny_bundle).encode(
        "[SEP] " + long, side="query", max_length=8, split_special_tokens=True, top_k=9, prune="max_ratio:0.8"
    )
    assert dict(zip(line["indices"], line["values"], strict=True)) == pytest.approx(vector.to_dict())
    assert len(vector) < 9
    assert run("a", "--max-length", "65").stderr == (
        "error: max_length is 65; this bundle takes 3 to 64 tokens (spladert export --max-length makes one for longer "
        "texts)\n"
    )
