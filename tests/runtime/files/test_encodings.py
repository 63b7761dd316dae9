"""Encodings other than UTF-8 are named, by what they read as."""

from __future__ import annotations

import io

import pytest

from spladert import InputError
from spladert.files import BadRecord, read_records
from spladert.files.encodings import likely_encoding
from support.checkpoints import LINES

TEXTS = ["계약서", "손해배상 청구", "당뇨병 치료\n계약서\n", "인공지능", *LINES]


@pytest.mark.parametrize("encoding", ["CP949", "UTF-16LE", "UTF-16BE"])
@pytest.mark.parametrize("text", [text for text in TEXTS if not text.isascii()])
def test_a_korean_line(text: str, encoding: str) -> None:
    assert likely_encoding(text.splitlines()[0].encode(encoding)) == encoding


@pytest.mark.parametrize(
    "content", [b"", b"\xff", b"\xb3\xff\x00", "日本語".encode("shift_jis"), bytes(range(128, 256))]
)
def test_what_is_none_of_them(content: bytes) -> None:
    assert likely_encoding(content) is None


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("kind", ["text", "jsonl", "csv"])
@pytest.mark.parametrize("text", ["당뇨병 치료\n계약서\n", "계약서\n당뇨병\n", "hello world\n", "계약서"])
def test_utf16_without_a_mark_is_refused_whole(text: str, kind: str, encoding: str) -> None:
    with pytest.raises(InputError, match="is UTF-16 without a byte order mark, not UTF-8: iconv"):
        list(read_records(io.BytesIO(text.encode(encoding)), kind))


def test_cp949_is_named_in_its_line() -> None:
    first, second = read_records(io.BytesIO("당뇨병 치료\n계약서\n".encode("cp949")), "text")
    for record in (first, second):
        assert isinstance(record, BadRecord)
        assert "(is it CP949? iconv -f CP949 -t UTF-8 converts)" in record.error
