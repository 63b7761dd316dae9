from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from spladert import InputError
from spladert.files import BadRecord, Fields, Record, format_of, read_records
from spladert.files.encodings import likely_encoding
from spladert.files.lines import SIGNATURES
from spladert.files.readers import INPUT_FORMATS

LINES = ["text", "jsonl", "csv"]  # formats whose records are lines


def read(content: bytes | str, kind: str, *fields: str, id_field: str | None = None) -> list[Record | BadRecord]:
    raw = content.encode() if isinstance(content, str) else content
    return list(read_records(io.BytesIO(raw), kind, Fields(fields or ("text",), id_field)))


def texts(records: list[Record | BadRecord]) -> list[str]:
    assert all(isinstance(record, Record) for record in records)
    return [record.text for record in records if isinstance(record, Record)]


def only_error(content: bytes | str, kind: str = "jsonl", id_field: str | None = None) -> str:
    (record,) = read(content, kind, id_field=id_field)
    assert isinstance(record, BadRecord)
    return record.error


def test_text_lines_keep_empty_ones_and_their_numbers() -> None:
    assert read("하나\n\n둘", "text") == [Record(1, 1, "하나"), Record(2, 2, ""), Record(3, 3, "둘")]


@pytest.mark.parametrize("kind", LINES)
def test_an_empty_input_has_no_records(kind: str) -> None:
    assert read(b"", kind) == []


@pytest.mark.parametrize(("kind", "content"), [("text", "가"), ("jsonl", '{"text": "가"}'), ("csv", "text\n가\n")])
@pytest.mark.parametrize("marks", [1, 2])
def test_a_byte_order_mark_is_no_text(kind: str, content: str, marks: int) -> None:
    assert texts(read(b"\xef\xbb\xbf" * marks + content.encode(), kind)) == ["가"]


@given(st.lists(st.text(st.characters(exclude_characters="\n\r", exclude_categories=["Cs"]))))
def test_any_text_lines_come_back(lines: list[str]) -> None:
    found = texts(read("".join(f"{line}\n" for line in lines), "text"))
    assert found == [line.lstrip("\ufeff") for line in lines]


ids = st.one_of(st.integers(), st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=100))
texts_of_any_kind = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.lists(st.tuples(ids, texts_of_any_kind)), st.booleans())
def test_any_json_records_come_back(pairs: list[tuple[str | int, str]], ascii_only: bool) -> None:
    content = "".join(json.dumps({"_id": i, "text": text}, ensure_ascii=ascii_only) + "\n" for i, text in pairs)
    expected = [Record(n, i, text, {"text": text}) for n, (i, text) in enumerate(pairs, start=1)]
    assert read(content, "jsonl") == expected


@given(st.lists(st.tuples(st.text("abc가,\"'", max_size=10), st.text("ab,\"\n가'; \t😀\u2028", max_size=30))))
def test_any_csv_records_come_back(pairs: list[tuple[str, str]]) -> None:
    stream = io.StringIO(newline="")
    writer = csv.writer(stream)
    writer.writerow(["other", "id", "text"])
    writer.writerows(["x", i, text] for i, text in pairs)
    found = read(stream.getvalue(), "csv")
    assert [(r.id, r.text, r.fields) for r in found if isinstance(r, Record)] == [
        (i, text, {"other": "x", "text": text}) for i, text in pairs
    ]
    assert len(found) == len(pairs)


@given(st.binary(), st.sampled_from(["text", "jsonl"]))
def test_any_bytes_give_a_record_or_a_bad_one_for_each_line(content: bytes, kind: str) -> None:
    assume(b"\r" not in content)
    lines = [re.sub(rb"^(\xef\xbb\xbf)+", b"", line) for line in content.split(b"\n")]
    assume(not content.startswith(tuple(SIGNATURES)) and b"\0" not in content)  # other kinds of files
    assume(not (likely_encoding(lines[0]) or "").startswith("UTF-16"))
    records = read(content, kind)
    assert [record.line for record in records] == [
        n
        for n, line in enumerate(lines, start=1)
        if (line.strip() if kind == "jsonl" else n < len(lines) or content.split(b"\n")[-1])
    ]
    for record in records:
        if isinstance(record, Record):
            record.text.encode("utf-8")


@given(st.binary())
def test_any_bytes_after_a_csv_header_are_read_to_their_end(content: bytes) -> None:
    for record in read(b"text\n" + content, "csv"):
        assert record.line >= 2


def test_csv_ids_are_the_line_a_record_begins_on() -> None:
    assert [(r.line, r.id) for r in read('text\n"a\nb"\nc\n', "csv") if isinstance(r, Record)] == [(2, 2), (4, 4)]


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (b'{"text": "a"', "not valid JSON"),
        (b"[1]", "a JSON list instead of an object"),
        (b'{"body": "a"}', "no field 'text'; it has: 'body'"),
        (b'{"text": 5}', "field 'text' holds a number instead of a string"),
        (b'{"text": null}', "field 'text' holds a null instead of a string"),
        (rb'{"text": "a\ud800"}', "field 'text' has a lone surrogate (U+D800) at character 1"),
        (b'{"text": "\xb0\xa1"}', "not valid UTF-8 at byte 10 of the line (is it CP949?"),
        (b'{"text": "a", "id": 1.5}', "id field 'id' holds a number instead of a string or an integer"),
        (b'{"text": "a", "id": null}', "id field 'id' holds a null"),
        (b'{"text": "a", "_id": "' + b"x" * 600 + b'"}', "longer than 512 bytes"),
        (b"[" * 100_000, "not valid JSON: nested too deeply"),
        (b'{"text": "a", "n": ' + b"1" * 5000 + b"}", "not valid JSON"),
    ],
)
def test_bad_json_lines_say_why(line: bytes, error: str) -> None:
    before, bad, after = read(b'{"text": "ok"}\n' + line + b'\n{"text": "ok"}\n', "jsonl")
    assert isinstance(before, Record)
    assert isinstance(after, Record)
    assert isinstance(bad, BadRecord)
    assert error in bad.error
    assert (bad.line, bad.raw) == (2, line)


def test_named_fields() -> None:
    line = '{"body": "a", "key": "k", "id": "i"}'
    assert read(line, "jsonl", "body", id_field="key") == [Record(1, "k", "a", {"body": "a", "id": "i"})]
    assert "no id field 'key'" in only_error('{"text": "a"}', id_field="key")


@pytest.mark.parametrize("name", ["docid", "_id", "id"])
def test_ids_have_a_name_of_the_field(name: str) -> None:
    (record,) = read(f'{{"text": "a", "{name}": "x"}}', "jsonl")
    assert record == Record(1, "x", "a", {"text": "a"})
    (record,) = read(f"{name},text\nx,a\n", "csv")
    assert record == Record(2, "x", "a", {"text": "a"})


def test_of_several_ids_the_first_of_the_order_counts() -> None:
    (record,) = read('{"docid": 3, "id": 2, "_id": 1, "text": "a"}', "jsonl")
    assert record == Record(1, 1, "a", {"docid": 3, "id": 2, "text": "a"})


@pytest.mark.parametrize(
    ("title", "body", "text"), [("제목", "본문", "제목 본문"), ("", "본문", "본문"), ("제목", "", "제목"), ("", "", "")]
)
def test_several_fields_make_one_text(title: str, body: str, text: str) -> None:
    line = json.dumps({"title": title, "text": body})
    assert read(line, "jsonl", "title", "text") == [Record(1, 1, text, {"title": title, "text": body})]
    assert texts(read(f"title,text\n{title},{body}\n", "csv", "title", "text")) == [text]


def test_each_of_several_fields_must_be_there() -> None:
    (bad,) = read('{"text": "a"}', "jsonl", "title", "text")
    assert isinstance(bad, BadRecord)
    assert "no field 'title'" in bad.error
    with pytest.raises(InputError, match="no column 'title'"):
        read("text\na\n", "csv", "title", "text")


@pytest.mark.parametrize(
    ("row", "error"),
    [
        (b"a,b,c", "3 columns where the header has 2"),
        (b'"a"b,c', "not valid CSV"),
        (b"\xb0\xa1,c", "not valid UTF-8"),
    ],
)
def test_bad_csv_rows_say_why_and_the_next_one_is_read(row: bytes, error: str) -> None:
    bad, good = read(b"text,n\n" + row + b"\nd,e\n", "csv")
    assert isinstance(bad, BadRecord)
    assert error in bad.error
    assert (bad.line, bad.raw) == (2, row)
    assert good == Record(3, 3, "d", {"text": "d", "n": "e"})


def test_an_open_csv_quote_is_an_error_and_not_a_text() -> None:
    assert "not valid CSV" in only_error('text\n"a\nb\n', "csv")


@pytest.mark.parametrize(
    ("header", "error"),
    [
        (b"a,b", "no column 'text'; it has: 'a', 'b'"),
        (b"text,text", "more than one"),
        (b"\xb3\xbb\xbf\xeb", "line 1: the CSV header cannot be read: not valid UTF-8.*is it CP949"),
        (b'"a"b', "line 1: the CSV header cannot be read"),
    ],
)
def test_an_unusable_csv_header_is_refused(header: bytes, error: str) -> None:
    with pytest.raises(InputError, match=error):
        read(header + b"\nx,y\n", "csv")


@pytest.mark.parametrize("kind", LINES)
def test_a_line_beyond_the_limit_is_bad_and_is_not_held(kind: str) -> None:
    good = {"text": "ok", "jsonl": '{"text": "ok"}', "csv": "ok"}[kind].encode()
    content = (b"text\n" if kind == "csv" else b"") + b"x" * 9000 + b"\n" + good + b"\n"
    bad, after = read_records(io.BytesIO(content), kind, max_line_bytes=2000)
    assert isinstance(bad, BadRecord)
    assert bad.error == "longer than 2,000 bytes"
    assert len(bad.raw) == 1000
    assert isinstance(after, Record)
    assert after.text == "ok"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("-", "text"),
        ("a", "text"),
        ("a.TXT", "text"),
        ("a.gz", "text"),
        ("a.b.jsonl.gz", "jsonl"),
        ("a.JSONL.GZ", "jsonl"),
        ("a.ndjson.zst", "jsonl"),
        ("x.y/a.csv", "csv"),
        ("a.parquet", "parquet"),
    ],
)
def test_formats_by_ending(name: str, kind: str) -> None:
    assert format_of(name) == kind


def test_an_unknown_ending_lists_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"'\.xlsx' of a\.xlsx says no format.*\.csv.*--input-format.*parquet"):
        format_of("a.xlsx")


TABLE = {
    "docid": ["a", "b", "c", "d"],
    "title": ["", "둘", "셋", None],
    "text": ["하나", "", "3", "4"],
    "n": [1, 2, 3, 4],
}


def parquet(path: Path, table: dict[str, list[object]], **options: object) -> Path:
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.table(table), path, **options)
    return path


def read_parquet(path: Path, *fields: str, id_field: str | None = None) -> list[Record | BadRecord]:
    with path.open("rb") as stream:
        return list(read_records(stream, "parquet", Fields(fields or ("text",), id_field)))


def test_parquet_rows_are_records(tmp_path: Path) -> None:
    path = parquet(tmp_path / "a.parquet", TABLE, row_group_size=3)
    assert read_parquet(path) == [
        Record(n + 1, TABLE["docid"][n], text, {"title": TABLE["title"][n], "text": text, "n": n + 1})
        for n, text in enumerate(["하나", "", "3", "4"])
    ]
    *first, bad = read_parquet(path, "title", "text", id_field="n")
    assert [(record.id, record.text) for record in first if isinstance(record, Record)] == [
        (1, "하나"),
        (2, "둘"),
        (3, "셋 3"),
    ]
    assert bad == BadRecord(4, "field 'title' holds a null instead of a string", b"")


def test_parquet_strings_may_be_a_dictionary_or_broken(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    text = pa.array(["가", "나", "가"]).dictionary_encode()
    assert texts(read_parquet(parquet(tmp_path / "a.parquet", {"text": text}))) == ["가", "나", "가"]
    broken = pa.Array.from_buffers(pa.string(), 2, pa.array([b"ok", b"\xff"]).buffers())
    good, bad = read_parquet(parquet(tmp_path / "b.parquet", {"text": broken, "other": broken}))
    assert isinstance(good, Record)
    assert good.fields == {"text": "ok", "other": "ok"}
    assert isinstance(bad, BadRecord)
    assert "holds a byte string that is not UTF-8 instead of a string" in bad.error


@pytest.mark.parametrize(
    ("fields", "error"),
    [(("body",), "has no column 'body'; it has: 'docid', 'title'"), (("n",), "column 'n' .* holds int64, not strings")],
)
def test_unusable_parquet_columns_are_refused(tmp_path: Path, fields: tuple[str, ...], error: str) -> None:
    with pytest.raises(InputError, match=error):
        read_parquet(parquet(tmp_path / "a.parquet", TABLE), *fields)


def test_damaged_parquet_is_refused_or_keeps_the_rows_before(tmp_path: Path) -> None:
    path = parquet(tmp_path / "a.parquet", {"text": ["x" * 100 + str(i) for i in range(10_000)]}, row_group_size=2000)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1000])
    with pytest.raises(InputError, match="not a whole parquet file"):
        read_parquet(path)
    middle = len(whole) // 2
    path.write_bytes(whole[:middle] + bytes(1000) + whole[middle + 1000 :])
    *good, bad = read_parquet(path)
    assert 0 < len(good) < 10_000
    assert isinstance(bad, BadRecord)
    assert "the parquet data is damaged here" in bad.error


def test_parquet_is_not_read_from_a_pipe(tmp_path: Path) -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    content = parquet(tmp_path / "a.parquet", TABLE).read_bytes()
    with pytest.raises(InputError, match="from a file alone"):
        read_records(Pipe(content), "parquet")


def test_every_format_says_its_endings() -> None:
    for name, row in INPUT_FORMATS.items():
        assert [format_of(f"a{ending}") for ending in row.endings] == [name] * len(row.endings)
