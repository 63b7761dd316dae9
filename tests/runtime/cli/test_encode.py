from __future__ import annotations

import gzip
import json
import os
import pty
import select
import subprocess
from pathlib import Path

import numpy as np
import pytest

from spladert import SparseEncoder
from support.encode_command import COMMAND, LINES, Run, json_lines


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
    assert result.stderr == f"error: {where}; before it, 1,200 records were written\n"
    out = tmp_path / "out.jsonl"
    result = run("--input", cut, "--output", out)
    assert result.exit_code == 1
    assert (
        f"error: {where}; before it, 1,200 records were read, of which 1,024 are kept ({out}.partial): the same command"
        in result.stderr
    )
    assert not out.exists()
    result = run("--input", cut, "--output", out, "--skip-errors")
    assert result.exit_code == 0
    assert "1,200 texts, 177 lines of them now and 1,024 by an interrupted run" in result.stderr
    assert f"the input is not whole, {where}" in result.stderr
    assert [line["id"] for line in json_lines(out.read_text())] == list(range(1, 1201))
    assert where.partition(": ")[2] in (tmp_path / "out.jsonl.errors.jsonl").read_text()


def test_other_fields_than_those_that_a_feed_holds_already(run: Run, tmp_path: Path) -> None:
    def written(year: int) -> bytes:
        lines = (json.dumps({"_id": f"d{i}", "text": "당뇨병", "year": year if i == 1 else i}) for i in range(1500))
        return gzip.compress("".join(f"{line}\n" for line in lines).encode())

    source, out = tmp_path / "in.jsonl.gz", tmp_path / "out.bulk.ndjson"
    source.write_bytes(written(1)[:-2000])
    assert run("--input", source, "--output", out).exit_code == 1
    source.write_bytes(written(777))
    result = run("--input", source, "--output", out)
    assert "the first 1024 records are not those that" in result.stderr
    assert run("--input", source, "--output", tmp_path / "ids.jsonl").exit_code == 0


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
    message = "2 texts were longer than 64 tokens and cut"
    assert message in run("--input", tmp_path / "a.txt").stderr
    assert message in run("치료 " * 200, "방법 " * 200, "짧은 글").stderr
    assert "cut" not in run("짧은 글").stderr
    shorter = "2 texts were longer than 4 tokens and cut"
    assert shorter in run("--input", tmp_path / "a.txt", "--max-length", "4").stderr
    assert shorter in run("치료 " * 200, "방법 " * 200, "짧은 글", "--max-length", "4").stderr


def test_standard_input_in_a_named_format(run: Run) -> None:
    result = run("--input", "-", "--input-format", "jsonl", "--field", "q", input='{"q": "당뇨병"}\n')
    assert [line["id"] for line in json_lines(result.stdout)] == [1]


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
