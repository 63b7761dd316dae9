from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spladert import InputError
from spladert.files.lines import read_lines


def contents(raw: bytes, max_bytes: int = 2**20) -> list[bytes]:
    return [line.content for line in read_lines(io.BytesIO(raw), max_bytes)]


def test_lines_end_at_lf_or_crlf() -> None:
    assert contents("a\r\nb\u2028c\x85d\x0ce\n".encode()) == [b"a", "b\u2028c\x85d\x0ce".encode()]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@given(lines=st.lists(st.text(st.characters(exclude_characters="\n\r\ufeff\0", exclude_categories=["Cs"]))))
def test_any_line_end_may_be_used(end: bytes, lines: list[str]) -> None:
    assert contents(b"".join(line.encode() + end for line in lines)) == [line.encode() for line in lines]


def test_a_carriage_return_in_a_file_of_lf_is_text() -> None:
    assert contents(b"a\rb\nc\r\r\n") == [b"a\rb", b"c\r"]


def test_lines_of_carriage_returns_are_bounded_too() -> None:
    found = list(read_lines(io.BytesIO(b"ab\r" + b"x" * 300_000 + b"\rcd"), 2000))
    assert [(line.number, line.content, line.problem) for line in found] == [
        (1, b"ab", None),
        (2, b"x" * 1000, "longer than 2,000 bytes"),
        (3, b"cd", None),
    ]


def test_files_put_together_have_byte_order_marks_in_the_middle() -> None:
    mark = b"\xef\xbb\xbf"
    assert contents(mark + b"a\n" + mark + mark + b"b\nc" + mark) == [b"a", b"b", b"c" + mark]


@pytest.mark.parametrize("size", [10, 11, 12])
def test_the_limit_is_on_the_bytes_with_the_line_end(size: int) -> None:
    first, second = read_lines(io.BytesIO(b"x" * (size - 1) + b"\nok\n"), 11)
    assert (first.problem is None) == (size <= 11)
    assert (second.number, second.content) == (2, b"ok")


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        ("\ufeff당뇨병\n".encode("utf-16-le"), "UTF-16, not UTF-8: iconv"),
        ("\ufeff당뇨병\n".encode("utf-16-be"), "UTF-16, not UTF-8: iconv"),
        ("plain text\n".encode("utf-16-le"), "UTF-16 without a byte order mark"),
        ("plain text\n".encode("utf-16-be"), "UTF-16 without a byte order mark"),
        ("\ufeffa".encode("utf-32-le"), "UTF-32"),
        (b"\x1f\x8b\x08\0", "gzip data"),
        (b"PK\x03\x04", "zip archive"),
        (b"PAR1\x15\x04", "a parquet file"),
    ],
)
def test_other_kinds_of_files_are_named(raw: bytes, kind: str) -> None:
    with pytest.raises(InputError, match=f"the input is (a )?{kind}"):
        contents(raw)


@pytest.mark.parametrize(
    ("raw", "guess"),
    [
        ("당뇨병 치료".encode("cp949"), "is it CP949?"),
        (b"\xff\xff\xff", "at byte 0 of the line"),
    ],
)
def test_a_line_of_another_encoding_says_which_it_may_be(raw: bytes, guess: str) -> None:
    (line,) = read_lines(io.BytesIO(raw), 1000)
    with pytest.raises(Exception, match="not valid UTF-8") as caught:
        line.text()
    assert guess in str(caught.value)
    assert ("is it" in str(caught.value)) == ("is it" in guess)
