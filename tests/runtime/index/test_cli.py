"""`spladert index` and `spladert search FOLDER` as they are typed."""

from __future__ import annotations

import json
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from spladert import SparseEncoder
from spladert.cli import main
from spladert.index import SparseIndex

QUICK = ("--threads", "1", "--no-spin")
COMMAND = [sys.executable, "-c", "from spladert.cli import main; main()"]
DOCUMENTS = [
    {"_id": "diabetes", "body": "당뇨병 치료에는 식이요법과 운동이 중요하다", "year": 2020},
    {"_id": "law", "body": "손해배상 청구 소송에서 위자료를 산정하는 기준", "year": 2021},
    {"_id": "long", "body": "서울의 오늘 날씨는 맑고 기온은 이십 도이다. " * 10 + "비빔밥은 맛있다.", "year": 2022},
]

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    Path("docs.jsonl").write_text("".join(json.dumps(each) + "\n" for each in DOCUMENTS), encoding="utf-8")

    def run(*arguments: str, input: str | bytes | None = None) -> Result:
        return CliRunner().invoke(main, [*arguments, *QUICK], input=input)

    return run


def test_a_file_is_indexed_and_asked(run: Run) -> None:
    made = run("index", "docs.jsonl", "my", "--field", "body")
    assert made.exit_code == 0, made.output
    assert "3 texts" in made.stderr
    assert "1 text was longer than 64 tokens and cut: about 5" in made.stderr
    assert "% was not read (--passages reads all)" in made.stderr
    found = run("search", "my", "당뇨병 치료", "--top", "1")
    assert found.exit_code == 0, found.output
    assert "diabetes" in found.stdout
    assert "당뇨병" in found.stdout
    answer = json.loads(run("search", "my", "손해배상", "--json", "-").stdout)
    (hit,) = answer["hits"]
    assert (hit["id"], hit["text"], hit["passage"]) == ("law", DOCUMENTS[1]["body"], None)
    assert hit["fields"] == {"body": DOCUMENTS[1]["body"], "year": 2021}
    assert hit["score"] == pytest.approx(sum(token["product"] for token in hit["tokens"]), rel=1e-5)
    assert "nothing found" in run("search", "my", "손해배상", "--filter", "year=2020").stderr


@pytest.mark.parametrize("columns", ["60", "80", "100"])
def test_the_table_cuts_no_letter_off(run: Run, monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    assert run("index", "docs.jsonl", "my", "--field", "body").exit_code == 0
    monkeypatch.setenv("COLUMNS", columns)
    shown = run("search", "my", "당뇨병 치료", "--top", "1").stdout
    assert "…" not in shown
    assert "##치료" in shown


def test_passages_reach_the_end_of_a_document(run: Run) -> None:
    made = run("index", "docs.jsonl", "my", "--field", "body", "--passages", "--overlap", "8")
    assert made.exit_code == 0, made.output
    assert "passages of 3 documents" in made.stderr
    assert "cut" not in made.stderr
    (hit,) = json.loads(run("search", "my", "비빔밥", "--json", "-").stdout)["hits"]
    text = str(DOCUMENTS[2]["body"])
    assert hit["passage"]["document"] == "long"
    assert hit["text"] == text[hit["passage"]["begin"] : hit["passage"]["end"]]
    assert hit["fields"] == {"year": 2022}
    limited = run("index", "docs.jsonl", "other", "--field", "body", "--passages", "--max-passages", "1")
    assert "3 passages of 3 documents, 1 of them read only as far as --max-passages" in limited.stderr


def test_questions_are_asked_one_after_the_other(run: Run) -> None:
    assert run("index", "docs.jsonl", "my", "--field", "body").exit_code == 0
    done = run("search", "my", "--top", "1", "--json", "-", input="당뇨병\n\n \n손해배상\n")
    assert done.exit_code == 0
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(each["question"], each["hits"][0]["id"]) for each in answers] == [
        ("당뇨병", "diabetes"),
        ("손해배상", "law"),
    ]


def test_a_line_that_is_no_text_ends_no_search(run: Run) -> None:
    assert run("index", "docs.jsonl", "my", "--field", "body").exit_code == 0
    typed = "당뇨병\n".encode() + "손해배상\n".encode("cp949") + "손해배상".encode()
    done = run("search", "my", "--top", "1", "--json", "-", input=typed)
    assert done.exit_code == 0, done.output
    assert [json.loads(line)["hits"][0]["id"] for line in done.stdout.splitlines()] == ["diabetes", "law"]
    assert "error: line 2: not valid UTF-8 at byte 0 of the line" in done.stderr


def test_in_a_terminal_there_is_a_prompt(run: Run, tmp_path: Path) -> None:
    assert run("index", "docs.jsonl", "my", "--field", "body").exit_code == 0
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "search", "my", "--top", "1", *QUICK],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=tmp_path,
        env={**os.environ, "PYTHONIOENCODING": "utf-8:strict"},
    )
    os.close(theirs)
    shown = ""

    def until(text: str) -> None:
        nonlocal shown
        deadline = time.monotonic() + 60
        while text not in shown:
            assert time.monotonic() < deadline, shown
            if select.select([ours], [], [], 1)[0]:
                shown += os.read(ours, 65536).decode(errors="replace")

    until("question> ")
    os.write(ours, b"\xff\xfe\n")
    until("the line is not valid utf-8; ask again")
    os.write(ours, "손해배상\n".encode())
    until("law")
    os.write(ours, b"\x04")
    assert process.wait(60) == 0
    os.close(ours)


def test_wrong_places_and_options_are_named(run: Run) -> None:
    for arguments, message in [
        (("search", "gone", "x"), "there is no index gone; make it with spladert index INPUT 'gone'"),
        (("search", "docs.jsonl", "x"), "there is no index docs.jsonl"),
        (("search", "gone", "x", "--insecure"), "'gone' is no URL of one"),
        (("index", "gone.jsonl", "my"), "gone.jsonl cannot be read"),
        (("index", "docs.jsonl", "docs.jsonl", "--field", "body"), "docs.jsonl is a file"),
        (("index", "docs.jsonl", "docs.jsonl/my"), "no index can be in 'docs.jsonl/my'"),
        (("search", "docs.jsonl/my", "x"), "no index can be in 'docs.jsonl/my'"),
        (("index", "docs.jsonl", "my"), "line 1: no field 'text'"),
        (("index", "docs.jsonl", "my", "--passages", "--overlap", "62"), "less than the 62 tokens"),
    ]:
        done = run(*arguments)
        assert done.exit_code == 1, done.output
        assert message in done.stderr
    for arguments, message in [
        (("search", "my", "x", "--filter", "year"), "write FIELD=VALUE"),
        (("search", "my", "x", "--filter", "year=1", "--filter", "year=2"), "two values of 'year'"),
        (("search", "my", "--json", "answers.json"), "--json FILE is for one question"),
        (("index", "docs.jsonl", "my", "--overlap", "3"), "are for --passages"),
        (("index", "docs.jsonl", "qdrant://localhost/my"), "encode --output qdrant://localhost/my"),
        (("index", "docs.jsonl", ""), "has no name"),
    ]:
        done = run(*arguments)
        assert done.exit_code == 2, done.output
        assert message in done.stderr


def test_help_says_what_the_id_is_where_there_is_none(run: Run) -> None:
    help = " ".join(CliRunner().invoke(main, ["index", "--help"]).stdout.split())
    assert "else the line number, in an index or store a hash]" in help
    Path("twice.jsonl").write_text('{"text": "당뇨병"}\n' * 2, encoding="utf-8")
    run("index", "twice.jsonl", "my")
    with SparseIndex.open("my") as index:
        assert len(index) == 1


def test_bad_lines_are_kept_aside(run: Run) -> None:
    with Path("docs.jsonl").open("a") as stream:
        stream.write('{no json\n{"body": "a", "other": "\\ud800"}\n')
    assert "line 4: not valid JSON" in run("index", "docs.jsonl", "my", "--field", "body").stderr
    done = run("index", "docs.jsonl", "my", "--field", "body", "--skip-errors")
    assert done.exit_code == 0, done.output
    assert "1 bad line was skipped, see my/jobs/" in done.stderr
    assert "1 document was refused by the store, see my/jobs/" in done.stderr
    Path("refused.jsonl").write_text('{"body": "a", "other": "\\ud800"}\n')
    assert run("index", "refused.jsonl", "your", "--field", "body").exit_code == 3
    (refused,) = Path("my/jobs").glob("*.refused.jsonl")
    assert "field 'other' has a lone surrogate (U+D800)" in json.loads(refused.read_text())["_refused"]["error"]


def test_the_model_is_that_of_the_index(run: Run, tiny_bundle: Path) -> None:
    assert run("index", "docs.jsonl", "my", "--field", "body", "--model", str(tiny_bundle)).exit_code == 0
    assert run("index", "docs.jsonl", "my", "--field", "body").exit_code == 0
    assert run("search", "my", "당뇨병").exit_code == 0
    shipped = str(SparseEncoder.load(threads=1).bundle.path)
    for command in (("search", "my", "당뇨병"), ("index", "docs.jsonl", "my", "--field", "body")):
        done = run(*command, "--model", shipped)
        assert done.exit_code == 1
        assert "the index my was made with a different weights and tokenizer" in done.stderr


def test_a_model_that_has_moved_is_asked_for(run: Run, tiny_bundle: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_bundle, "model")
    assert run("index", "docs.jsonl", "my", "--field", "body", "--model", "model").exit_code == 0
    Path("model").rename("moved")
    for command in (("search", "my", "당뇨병"), ("index", "docs.jsonl", "my", "--field", "body")):
        done = run(*command)
        assert done.exit_code == 1
        assert "model does not exist here" in done.stderr
        assert "(the index was made with it; --model says where it is now)" in done.stderr
        assert run(*command, "--model", "moved").exit_code == 0


def test_lost_documents_are_named(run: Run) -> None:
    assert run("index", "docs.jsonl", "my", "--field", "body").exit_code == 0
    shutil.rmtree("my/shard")
    for command in (("search", "my", "당뇨병"), ("index", "docs.jsonl", "my", "--field", "body")):
        assert "the index my has lost its documents, the folder 'shard'" in run(*command).stderr


def test_a_killed_run_goes_on(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "many.jsonl"
    path.write_text("".join(f'{{"id": {n}, "text": "당뇨병 {n}"}}\n' for n in range(3000)), encoding="utf-8")
    process = subprocess.Popen([*COMMAND, "index", "many.jsonl", "my", *QUICK], cwd=tmp_path, stderr=subprocess.DEVNULL)
    while not list((tmp_path / "my" / "jobs").glob("*/state.json")):
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with SparseIndex.open("my") as index:
        assert len(index) >= 1024
    done = run("index", "many.jsonl", "my")
    assert done.exit_code == 0, done.output
    assert "by an interrupted run" in done.stderr
    with SparseIndex.open("my") as index:
        assert len(index) == 3000
