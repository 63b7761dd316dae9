from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spladert import InputError
from spladert.files import BadRecord, Record, format_of, open_input, read_records
from spladert.files.records import InputFormat


def read(
    content: bytes | str, kind: InputFormat, field: str = "text", id_field: str | None = None
) -> list[Record | BadRecord]:
    raw = content.encode() if isinstance(content, str) else content
    return list(read_records(io.BytesIO(raw), kind, field=field, id_field=id_field))


def only_error(content: bytes | str, kind: InputFormat = "jsonl", **options: str) -> str:
    (record,) = read(content, kind, **options)
    assert isinstance(record, BadRecord)
    return record.error


def test_text_lines_keep_empty_ones_and_their_numbers() -> None:
    assert read("하나\n\n둘", "text") == [Record(1, 1, "하나"), Record(2, 2, ""), Record(3, 3, "둘")]


def test_text_ends_only_at_lf_or_crlf() -> None:
    assert [r.text for r in read("a\r\nb\u2028c\x85d\x0ce\n", "text") if isinstance(r, Record)] == [
        "a",
        "b\u2028c\x85d\x0ce",
    ]


@pytest.mark.parametrize("kind", ["text", "jsonl", "csv"])
def test_an_empty_input_has_no_records(kind: InputFormat) -> None:
    assert read(b"", kind) == []


@pytest.mark.parametrize(("kind", "content"), [("text", "가"), ("jsonl", '{"text": "가"}'), ("csv", "text\n가\n")])
def test_a_byte_order_mark_is_no_text(kind: InputFormat, content: str) -> None:
    (record,) = read(b"\xef\xbb\xbf" + content.encode(), kind)
    assert isinstance(record, Record)
    assert record.text == "가"


@given(st.lists(st.text(st.characters(exclude_characters="\n\r", exclude_categories=["Cs"]))))
def test_any_text_lines_come_back(texts: list[str]) -> None:
    content = "".join(f"{text}\n" for text in texts).removeprefix("\ufeff")
    expected = [content.split("\n")[0], *texts[1:]] if texts else []
    assert [r.text for r in read(content, "text") if isinstance(r, Record)] == expected


ids = st.one_of(st.integers(), st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=100))
texts_of_any_kind = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.lists(st.tuples(ids, texts_of_any_kind)), st.booleans())
def test_any_json_records_come_back(pairs: list[tuple[str | int, str]], ascii_only: bool) -> None:
    content = "".join(json.dumps({"_id": i, "text": text}, ensure_ascii=ascii_only) + "\n" for i, text in pairs)
    assert read(content, "jsonl") == [Record(n, i, text) for n, (i, text) in enumerate(pairs, start=1)]


@given(st.lists(st.tuples(st.text("abc가,\"'", max_size=10), st.text("ab,\"\n가'; \t😀\u2028", max_size=30))))
def test_any_csv_records_come_back(pairs: list[tuple[str, str]]) -> None:
    stream = io.StringIO(newline="")
    writer = csv.writer(stream)
    writer.writerow(["other", "id", "text"])
    writer.writerows(["x", i, text] for i, text in pairs)
    found = read(stream.getvalue(), "csv")
    assert [(r.id, r.text) for r in found if isinstance(r, Record)] == pairs
    assert len(found) == len(pairs)


@given(st.binary(), st.sampled_from(["text", "jsonl"]))
def test_any_bytes_give_a_record_or_a_bad_one_for_each_line(content: bytes, kind: InputFormat) -> None:
    for record in read(content, kind):
        assert content.split(b"\n")[record.line - 1].strip() or kind == "text"
        if isinstance(record, Record):
            record.text.encode("utf-8")


@given(st.binary())
def test_any_bytes_after_a_csv_header_are_read_to_their_end(content: bytes) -> None:
    for record in read(b"text\n" + content, "csv"):
        assert record.line >= 2


def test_csv_ids_are_the_line_a_record_begins_on() -> None:
    assert read('text\n"a\nb"\nc\n', "csv") == [Record(2, 2, "a\nb"), Record(4, 4, "c")]


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (b'{"text": "a"', "not valid JSON"),
        (b"[1]", "a JSON list instead of an object"),
        (b'{"body": "a"}', "no field 'text'; it has: 'body'"),
        (b'{"text": 5}', "field 'text' holds a number instead of a string"),
        (b'{"text": null}', "field 'text' holds a null instead of a string"),
        (rb'{"text": "a\ud800"}', "field 'text' has a lone surrogate (U+D800) at character 1"),
        (b'{"text": "\xb0\xa1"}', "not valid UTF-8 at byte 10"),
        (b'{"text": "a", "id": 1.5}', "id field 'id' holds a number instead of a string or an integer"),
        (b'{"text": "a", "id": null}', "id field 'id' holds a null"),
        (b'{"text": "a", "_id": "' + b"x" * 600 + b'"}', "longer than 512 bytes"),
        (b"[" * 100_000, "not valid JSON"),
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
    assert read('{"body": "a", "key": "k", "id": "i"}', "jsonl", field="body", id_field="key") == [Record(1, "k", "a")]
    assert "no id field 'key'" in only_error('{"text": "a"}', id_field="key")


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
    assert good == Record(3, 3, "d")


def test_an_open_csv_quote_is_an_error_and_not_a_text() -> None:
    assert "not valid CSV" in only_error('text\n"a\nb\n', "csv")


@pytest.mark.parametrize(
    ("header", "error"), [("a,b", "no column 'text'; it has: 'a', 'b'"), ("text,text", "more than one")]
)
def test_an_unusable_csv_header_is_refused(header: str, error: str) -> None:
    with pytest.raises(InputError, match=error.replace("(", r"\(")):
        read(f"{header}\nx,y\n", "csv")


def test_a_line_beyond_the_limit_is_bad_and_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spladert.files.records.MAX_LINE_BYTES", 2000)
    bad, good = read(b"x" * 9000 + b"\nok\n", "text")
    assert isinstance(bad, BadRecord)
    assert "longer than" in bad.error
    assert len(bad.raw) == 1000
    assert good == Record(2, 2, "ok")


def test_formats_by_ending() -> None:
    assert [format_of(name) for name in ("-", "a", "a.TXT", "a.b.jsonl.gz", "x/a.csv")] == [
        "text",
        "text",
        "text",
        "jsonl",
        "csv",
    ]
    with pytest.raises(InputError, match=r"'\.parquet' of a\.parquet says no format.*--input-format"):
        format_of("a.parquet")


def test_gzip_is_read_and_a_cut_one_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.txt.gz"
    whole = gzip.compress("안녕\n".encode() * 50_000)
    path.write_bytes(whole)
    with open_input(str(path)) as source:
        assert sum(1 for _ in read_records(source.stream, "text")) == 50_000
        assert source.position() == source.size == len(whole)
    path.write_bytes(whole[:-20])
    with pytest.raises(InputError, match="not a whole gzip file"), open_input(str(path)) as source:
        list(read_records(source.stream, "text"))


def test_a_missing_input_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(InputError, match=r"gone\.txt cannot be read: No such file"),
        open_input(str(tmp_path / "gone.txt")),
    ):
        pass
