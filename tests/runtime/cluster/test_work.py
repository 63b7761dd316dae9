"""A part from its rows to its file: the vectors of one machine, other columns kept, what is bad beside it."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from spladert import SparseEncoder
from spladert.bundle import open_bundle
from spladert.cli import main
from spladert.cluster import (
    ClusterJob,
    PartReport,
    Places,
    begin,
    encode_part,
    find_parts,
    pending,
    report_of,
    summarize,
)
from spladert.cluster.cores import Cores
from spladert.cluster.place import Place
from spladert.cluster.rows import with_schema
from spladert.errors import InputError
from spladert.passages import Passages

pa = pytest.importorskip("pyarrow", reason="needs the parquet extra: pip install 'spladert[parquet]'")
pytest.importorskip("pyarrow.parquet")

TEXTS = ["당뇨병 치료", "계약서", "", "인공지능 " * 80, "손해배상 😀"]


def run(encoder: SparseEncoder, job: ClusterJob, tiny_bundle: Path, part_bytes: int = 10**6) -> list[PartReport]:
    parts = find_parts(job.source, part_bytes)
    job = with_schema(job, parts)
    begin(job, open_bundle(tiny_bundle), parts)
    return [encode_part(encoder, job, part) for part in parts]


def rows_of(output: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for path in sorted(output.rglob("part-*")):
        if "_errors" in path.parts:
            continue
        if path.suffix == ".parquet":
            rows += pa.parquet.ParquetFile(path).read().to_pylist()
        else:
            rows += map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return rows


@pytest.mark.parametrize("format", ["parquet", "jsonl"])
@pytest.mark.parametrize("kind", ["parquet", "jsonl", "txt"])
def test_every_kind_into_every_format(
    encoder: SparseEncoder, tiny_bundle: Path, tmp_path: Path, kind: str, format: Any
) -> None:
    source = tmp_path / "in" / "day=1" / f"a.{kind}"
    source.parent.mkdir(parents=True)
    rows: list[dict[str, Any]] = [{"text": text} for text in TEXTS]
    if kind != "txt":
        rows = [{"key": f"k{n}", **row, "tags": ["x"] * n} for n, row in enumerate(rows)]
    if kind == "parquet":
        pa.parquet.write_table(pa.Table.from_pylist(rows), source, row_group_size=2)
    elif kind == "jsonl":
        source.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    else:
        source.write_text("".join(text + "\n" for text in TEXTS), encoding="utf-8")
    job = ClusterJob(Places(str(tmp_path / "in"), str(tmp_path / "out")), str(tiny_bundle), format=format)
    reports = run(encoder, job, tiny_bundle, part_bytes=40)
    assert len(reports) > 1
    assert sum(report.rows for report in reports) == len(TEXTS)
    assert sum(report.truncated for report in reports) == 1
    written = rows_of(tmp_path / "out" / "day=1")
    expected = encoder.encode(TEXTS)
    assert [{name: row[name] for name in rows[0]} for row in written] == rows
    for row, vector in zip(written, expected, strict=True):
        assert row["indices"] == vector.indices.tolist()
        assert row["values"] == pytest.approx(vector.values.tolist(), abs=1e-5)


def test_rows_that_cannot_be_encoded_lie_beside_with_the_reason(
    encoder: SparseEncoder, tiny_bundle: Path, tmp_path: Path
) -> None:
    table = pa.table({"id": [1, 2, 3], "text": ["가", None, "나"]})
    pa.parquet.write_table(table, tmp_path / "a.parquet")
    job = ClusterJob(Places(str(tmp_path / "a.parquet"), str(tmp_path / "out")), str(tiny_bundle))
    [report] = run(encoder, job, tiny_bundle)
    assert (report.rows, report.rejected) == (2, 1)
    assert [row["id"] for row in rows_of(tmp_path / "out")] == [1, 3]
    [line] = (tmp_path / "out" / "_errors" / "part-000000.jsonl").read_text().splitlines()
    assert json.loads(line)["line_of_part"] == 2
    assert json.loads(line)["error"] == "field 'text' holds a null instead of a string"


def test_objects_that_fit_no_column_are_rejected(encoder: SparseEncoder, tiny_bundle: Path, tmp_path: Path) -> None:
    objects = [{"text": "가", "n": 1}] * 1000 + [{"text": "나", "n": "x"}, {"text": "다", "new": 1}, {"text": "라"}]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in objects))
    job = ClusterJob(Places(str(path), str(tmp_path / "out")), str(tiny_bundle))
    [report] = run(encoder, job, tiny_bundle)
    assert (report.rows, report.rejected) == (1001, 2)
    errors = [json.loads(line) for line in (tmp_path / "out" / "_errors" / "part-000000.jsonl").open()]
    assert [error["line_of_part"] for error in errors] == [1001, 1002]
    assert "field 'new' is in none of the first rows" in errors[1]["error"]
    [report] = run(encoder, replace(job, format="jsonl", places=Places(str(path), str(tmp_path / "o2"))), tiny_bundle)
    assert (report.rows, report.rejected) == (1003, 0)


@pytest.mark.parametrize("odd", [5, 3.5, ["x"], {"a": 1}, True, 2**70, "\ud800"])
def test_an_odd_value_among_the_first_rows_is_rejected_with_its_field(
    encoder: SparseEncoder, tiny_bundle: Path, tmp_path: Path, odd: object
) -> None:
    objects: list[dict[str, Any]] = [{"id": f"d{n}", "text": f"글 {n}"} for n in range(20)]
    objects[3]["id"] = odd
    objects[5]["text"] = None
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(json.dumps(row) + "\n" for row in objects))  # every second line is blank
    job = ClusterJob(Places(str(path), str(tmp_path / "out")), str(tiny_bundle))
    [report] = run(encoder, job, tiny_bundle)
    assert (report.rows, report.rejected) == (18, 2)
    assert [row["id"] for row in rows_of(tmp_path / "out")] == [f"d{n}" for n in range(20) if n not in (3, 5)]
    errors = [json.loads(line) for line in (tmp_path / "out" / "_errors" / "part-000000.jsonl").open()]
    assert (errors[0]["line_of_part"], json.loads(errors[0]["raw"])) == (7, objects[3])
    assert errors[0]["error"].startswith("field 'id' does not fit its column, string (")
    assert ("it has a lone surrogate (U+D800)" in errors[0]["error"]) == isinstance(odd, str)
    assert (errors[1]["line_of_part"], errors[1]["error"]) == (11, "field 'text' holds a null instead of a string")


def test_a_column_of_two_types_ends_the_job_and_names_the_record(
    encoder: SparseEncoder, tiny_bundle: Path, tmp_path: Path
) -> None:
    path = tmp_path / "a.jsonl"
    job = ClusterJob(Places(str(path), str(tmp_path / "out")), str(tiny_bundle))
    for values in (["x", "y", 1, 2], [[1], [2], ["x"]]):
        path.write_text("".join(json.dumps({"text": "가", "n": value}) + "\n" for value in values))
        with pytest.raises(InputError, match=r"field 'n' is of no one type .*: line 3 of .*a\.jsonl has another than"):
            run(encoder, job, tiny_bundle)


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_a_part_without_a_good_row(encoder: SparseEncoder, tiny_bundle: Path, tmp_path: Path, kind: str) -> None:
    rows = [{"text": None, "n": 1}, {"text": None, "n": 2}]
    path = tmp_path / f"a.{kind}"
    if kind == "parquet":
        pa.parquet.write_table(pa.Table.from_pylist(rows, pa.schema([("text", pa.string()), ("n", pa.int64())])), path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    [report] = run(encoder, ClusterJob(Places(str(path), str(tmp_path / "out")), str(tiny_bundle)), tiny_bundle)
    assert (report.rows, report.rejected) == (0, 2)


@pytest.mark.parametrize("format", ["parquet", "jsonl"])
@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_passages_are_those_of_one_machine(
    encoder: SparseEncoder, tiny_bundle: Path, tmp_path: Path, kind: str, format: Any
) -> None:
    long = "서울의 오늘 날씨는 맑다. 기온은 영상 이십 도까지 오른다. " * 4
    rows = [{"key": n, "title": f"제목 {n}.", "body": long * n, "year": 2020 + n} for n in range(1, 5)]
    source = tmp_path / f"a.{kind}"
    if kind == "parquet":
        pa.parquet.write_table(pa.Table.from_pylist(rows), source, row_group_size=2)
    else:
        source.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    job = ClusterJob(
        Places(str(source), str(tmp_path / "out")),
        str(tiny_bundle),
        format=format,
        text=("title", "body"),
        id="key",
        passages=Passages(overlap=4),
    )
    reports = run(encoder, job, tiny_bundle, part_bytes=200)
    assert sum(report.truncated + report.rejected for report in reports) == 0
    one = tmp_path / "one.jsonl"
    command = ["encode", "--input", str(source), "--field", "title", "--field", "body", "--id-field", "key"]
    command += ["--passages", "--overlap", "4", "--model", str(tiny_bundle), "--output", str(one)]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    expected = [json.loads(line) for line in one.open()]
    written = rows_of(tmp_path / "out")
    for name, theirs in (("key", "id"), ("begin", "begin"), ("end", "end"), ("indices", "indices")):
        assert [row[name] for row in written] == [row[theirs] for row in expected]
    for row, each in zip(written, expected, strict=True):
        document = rows[int(row["key"].partition("#")[0]) - 1]
        assert row["text"] == f"{document['title']} {document['body']}"[row["begin"] : row["end"]]
        assert row["year"] == document["year"]
        assert row.keys() == {"key", "year", "text", "begin", "end", "indices", "values"}
        assert row["values"] == pytest.approx(each["values"], abs=1e-5)
    assert len(written) > 8


def test_an_error_says_where_its_row_is(encoder: SparseEncoder, tiny_bundle: Path, tmp_path: Path) -> None:
    lines = ['{"text": "a"}', "", '{"text": "b"}', "[1]", '{"text": "c"}', "{"]
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(lines))
    job = ClusterJob(Places(str(path), str(tmp_path / "out")), str(tiny_bundle))
    assert len(run(encoder, job, tiny_bundle, part_bytes=20)) == 3
    content, bad = path.read_bytes(), []
    for kept in sorted((tmp_path / "out" / "_errors").iterdir()):
        for error in map(json.loads, kept.open()):
            begun = [at for at in range(error["start"], len(content)) if at == 0 or content[at - 1 : at] == b"\n"]
            bad.append(content[begun[error["line_of_part"] - 1] :].partition(b"\n")[0].decode())
            assert error["raw"] == bad[-1]
    assert bad == ["[1]", "{"]


@pytest.mark.parametrize("format", ["parquet", "jsonl"])
def test_passages_need_ids(encoder: SparseEncoder, tiny_bundle: Path, tmp_path: Path, format: Any) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "가"}\n{"id": "b", "text": "나", "begin": 1}\n')
    job = ClusterJob(Places(str(path), str(tmp_path / "out")), str(tiny_bundle), format=format, passages=Passages())
    [report] = run(encoder, job, tiny_bundle)
    assert (report.rows, report.rejected) == (0, 2)
    errors = [json.loads(line) for line in (tmp_path / "out" / "_errors" / "part-000000.jsonl").open()]
    assert "there is none (_id, id or docid): name its field with --id-field" in errors[0]["error"]
    assert "it has a field 'begin' already" in errors[1]["error"]
    pa.parquet.write_table(pa.table({"text": ["가"]}), tmp_path / "a.parquet")
    places = Places(str(tmp_path / "a.parquet"), str(tmp_path / "other"))
    if format == "parquet":
        with pytest.raises(InputError, match="passages need their document's id"):
            run(encoder, replace(job, places=places), tiny_bundle)


def test_only_the_same_job_goes_on(encoder: SparseEncoder, tiny_bundle: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("가\n나\n다\n", encoding="utf-8")
    job = ClusterJob(Places(str(path), str(tmp_path / "out")), str(tiny_bundle))
    parts = find_parts(job.source, 4)
    job = with_schema(job, parts)
    bundle = open_bundle(tiny_bundle)
    begin(job, bundle, parts)
    encode_part(encoder, job, parts[1])
    begin(job, bundle, parts)  # after a stop
    done = report_of(job, parts)
    assert [part.number for part in pending(parts, done)] == [0, 2]
    now = [encode_part(encoder, job, part) for part in pending(parts, done)]
    report = summarize([*done, *now], now)
    assert (report.rows, report.resumed, report.parts) == (3, 1, 3)
    with pytest.raises(InputError, match="begun with another field of the text: give"):
        begin(replace(job, text=("body",)), bundle, parts)
    path.write_text("가\n나\n다\n라\n", encoding="utf-8")
    with pytest.raises(InputError, match="begun with another size of the input's files or of a part: give"):
        begin(job, bundle, find_parts(job.source, 4))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("x")
    with pytest.raises(InputError, match="no job of a cluster made them"):
        begin(replace(job, places=Places(str(path), str(tmp_path / "mine"))), bundle, parts)
    begin(job, bundle, parts, overwrite=True)
    assert report_of(job, parts) == []


@pytest.mark.parametrize("format", ["parquet", "jsonl"])
def test_a_part_whose_file_is_gone_or_cut_is_done_again(
    encoder: SparseEncoder, tiny_bundle: Path, tmp_path: Path, format: Any
) -> None:
    source = tmp_path / "in" / "day=1" / "a.jsonl"
    source.parent.mkdir(parents=True)
    source.write_text('{"text": "a"}\n{"text": "b"}\n{"text": "c"}\n{"text": null}\n')
    job = ClusterJob(Places(str(tmp_path / "in"), str(tmp_path / "out")), str(tiny_bundle), format=format)
    run(encoder, job, tiny_bundle, part_bytes=14)
    parts = find_parts(job.source, 14)
    assert pending(parts, report_of(job, parts)) == []  # that of no good row too, which has no file in parquet
    (tmp_path / "out" / "day=1" / f"part-000000.{format}").unlink()
    os.truncate(tmp_path / "out" / "day=1" / f"part-000002.{format}", 20)
    assert [part.number for part in pending(parts, report_of(job, parts))] == [0, 2]


def test_overwrite_deletes_what_a_job_made_and_nothing_else(
    encoder: SparseEncoder, tiny_bundle: Path, tmp_path: Path
) -> None:
    source, output = tmp_path / "in" / "day=1" / "a.jsonl", tmp_path / "out"
    source.parent.mkdir(parents=True)
    source.write_text('{"text": "가"}\n{"text": null}\n', encoding="utf-8")
    job = ClusterJob(Places(str(tmp_path / "in"), str(output)), str(tiny_bundle))
    run(encoder, job, tiny_bundle)
    others = [output / "notes.md", output / "day=1" / "part-of-mine.parquet", output / "_errors" / "why.txt"]
    for path in others:
        path.write_text("mine")
    parts = find_parts(job.source, 10**6)
    bundle = open_bundle(tiny_bundle)
    begin(job, bundle, parts, overwrite=True)
    assert sorted(path for path in output.rglob("*") if path.is_file()) == sorted(
        [*others, output / "_spladert" / "job.json"]
    )

    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "part-000000.parquet").write_text("mine")
    with pytest.raises(InputError, match=r"foreign has files already, and no job of a cluster made them; take another"):
        begin(replace(job, places=Places(str(source), str(foreign))), bundle, parts, overwrite=True)
    assert (foreign / "part-000000.parquet").read_text() == "mine"
    assert not (foreign / "_spladert").exists()


@pytest.mark.parametrize("where", ["in", "link", "in/../in", "."])
@pytest.mark.parametrize("overwrite", [False, True])
def test_an_output_that_holds_the_input_is_refused(
    tiny_bundle: Path, tmp_path: Path, where: str, overwrite: bool
) -> None:
    source = tmp_path / "in" / "corpus.txt"
    source.parent.mkdir()
    source.write_text("가\n", encoding="utf-8")
    (tmp_path / "link").symlink_to("in")
    job = ClusterJob(Places(str(source), str(tmp_path / where)), str(tiny_bundle))
    with pytest.raises(InputError, match=r"holds the input .*corpus\.txt; take another folder"):
        begin(job, open_bundle(tiny_bundle), find_parts(job.source, 100), overwrite=overwrite)
    assert source.exists()


def test_an_output_that_is_no_folder(tiny_bundle: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("가\n", encoding="utf-8")
    parts = find_parts(Place.of(str(path)), 100)
    for output, message in (
        ("/dev/full", "/dev/full is neither a file nor a folder"),
        (str(path), "txt is a file, and"),
    ):
        with pytest.raises(InputError, match=message):
            begin(ClusterJob(Places(str(path), output), str(tiny_bundle)), open_bundle(tiny_bundle), parts)
    command = ["encode", "--engine", "ray", "--input", str(path), "--output", str(tmp_path / "x1.parquet")]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 2, done.output
    assert "--engine ray writes a folder, and" in done.stderr
    assert not (tmp_path / "x1.parquet").exists()


def test_columns_that_are_missing_or_taken(encoder: SparseEncoder, tiny_bundle: Path, tmp_path: Path) -> None:
    pa.parquet.write_table(pa.table({"body": ["x"], "indices": [1]}), tmp_path / "a.parquet")
    places = Places(str(tmp_path / "a.parquet"), str(tmp_path / "out"))
    with pytest.raises(InputError, match="no column 'text'; there are: 'body', 'indices'"):
        run(encoder, ClusterJob(places, str(tiny_bundle)), tiny_bundle)
    with pytest.raises(InputError, match="column 'indices' already"):
        run(encoder, ClusterJob(replace(places, output=str(tmp_path / "o2")), text=("body",)), tiny_bundle)


def test_a_worker_has_cores_of_its_own(tmp_path: Path) -> None:
    usable = os.sched_getaffinity(0)
    if len(usable) < 2:
        pytest.skip("one core: there is nothing to share out")
    first = Cores(1, tmp_path)
    try:
        assert os.sched_getaffinity(0) == set(first.held)
    finally:
        first.release()
    assert os.sched_getaffinity(0) == usable
    greedy = Cores(len(usable) + 1, tmp_path)
    assert not greedy.held
    assert os.sched_getaffinity(0) == usable


def test_a_file_is_whole_or_not_there(tmp_path: Path) -> None:
    place = Place.of(str(tmp_path)) / "a" / "b.json"
    assert place.read() is None
    place.write_json({"a": "가\ud800"})
    assert place.read_json() == {"a": "가\ud800"}
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b.json"]
