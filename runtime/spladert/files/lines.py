"""The lines of a byte stream, with their numbers, each of bounded length."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from ..errors import InputError
from .compression import DamagedError
from .encodings import ENCODINGS, likely_encoding
from .records import UnreadableError

BOM = b"\xef\xbb\xbf"
KEPT_BYTES = 1000  # of a line that is too long
BLOCK_BYTES = 2**16
SIGNATURES = {  # what a stream begins with that is no UTF-8 text, and what to do about it
    b"\xff\xfe\0\0": "UTF-32, not UTF-8: iconv -f UTF-32 -t UTF-8 converts it",
    b"\0\0\xfe\xff": "UTF-32, not UTF-8: iconv -f UTF-32 -t UTF-8 converts it",
    b"\xff\xfe": "UTF-16, not UTF-8: iconv -f UTF-16 -t UTF-8 converts it",
    b"\xfe\xff": "UTF-16, not UTF-8: iconv -f UTF-16 -t UTF-8 converts it",
    b"\x1f\x8b": "gzip data: give it a name that ends in .gz, or pipe it through gunzip",
    b"\x28\xb5\x2f\xfd": "zstd data: give it a name that ends in .zst, or pipe it through zstd -d",
    b"PK\x03\x04": "a zip archive: unpack it first",
    b"PAR1\x15": "a parquet file: say so with --input-format parquet",
}


@dataclass(frozen=True, slots=True)
class Line:
    """A line of an input.

    Attributes:
        number: the first is 1.
        raw: its bytes with the line end, without a byte order mark; of a line that is too long only the beginning.
        problem: why it cannot be read, None if it can.
        last: whether nothing behind it can be read, for the input is cut or damaged there.
    """

    number: int
    raw: bytes
    problem: str | None = None
    last: bool = False

    @property
    def content(self) -> bytes:
        """`raw` without the line end."""
        return without_end(self.raw)

    def text(self) -> str:
        """The content as text.

        Raises:
            UnreadableError: why it is none.
        """
        if self.problem is not None:
            raise UnreadableError(self.problem)
        try:
            return self.content.decode("utf-8")
        except UnicodeDecodeError as error:
            hint = _guess_encoding(self.content)
            raise UnreadableError(f"not valid UTF-8 at byte {error.start} of the line{hint}") from None


def without_end(raw: bytes) -> bytes:
    return raw.removesuffix(b"\n").removesuffix(b"\r")


def read_lines(stream: IO[bytes], max_bytes: int, name: str = "the input") -> Iterator[Line]:
    """The lines of a stream, which end in LF, CRLF or, where there is no LF at all, CR.

    A byte order mark at the beginning of any line is left out: files that were put together have one in the middle.
    A line of more than `max_bytes` has a `problem`, and so has the last one of compressed data that is damaged.

    Raises:
        InputError: the stream, called `name`, is of another encoding or kind.
    """
    number = 0
    try:
        for raw in _raw_lines(stream, max_bytes):
            number += 1
            if number == 1:
                _check_kind(raw, name)
            while raw.startswith(BOM):
                raw = raw.removeprefix(BOM)
            if len(raw) > max_bytes:
                yield Line(number, raw[:KEPT_BYTES], f"longer than {max_bytes:,} bytes")
            else:
                yield Line(number, raw)
    except DamagedError as error:
        yield Line(number + 1, b"", str(error), last=True)


def _raw_lines(stream: IO[bytes], max_bytes: int) -> Iterator[bytes]:
    """Lines with their ends; of one that is too long a beginning longer than `max_bytes`."""
    first = True
    while raw := stream.readline(max_bytes + 1):
        if first and b"\r" in raw and not raw.endswith(b"\n"):
            yield from _carriage_return_lines(raw, stream, max_bytes)
            return
        first = False
        rest = raw
        while len(rest) >= max_bytes and not rest.endswith(b"\n"):
            rest = stream.readline(max_bytes)
        yield raw


def _carriage_return_lines(pending: bytes, stream: IO[bytes], max_bytes: int) -> Iterator[bytes]:
    while True:
        *lines, pending = pending.split(b"\r")
        for line in lines:
            yield line + b"\r"
        block = stream.read(BLOCK_BYTES)
        if not block:
            break
        pending = pending[: max_bytes + 1] + block if len(pending) > max_bytes else pending + block
    if pending:
        yield pending


def _check_kind(beginning: bytes, name: str) -> None:
    found = next((what for signature, what in SIGNATURES.items() if beginning.startswith(signature)), None)
    if found is None and _is_utf16(beginning[:BLOCK_BYTES]):
        found = "UTF-16 without a byte order mark, not UTF-8: iconv -f UTF-16LE (or UTF-16BE) -t UTF-8 converts it"
    if found is not None:
        raise InputError(f"{name} is {found}")


def _is_utf16(raw: bytes) -> bool:
    """Whether there are many NUL bytes, which ASCII letters have in UTF-16, or it reads as such and is no UTF-8."""
    even, odd = raw[0::2].count(0), raw[1::2].count(0)
    if min(even, odd) == 0 and max(even, odd) > max(len(raw) / 4, 3):
        return True
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return (likely_encoding(without_end(raw)) or "").startswith("UTF-16")
    return False


def _guess_encoding(content: bytes) -> str:
    found = likely_encoding(content)
    return "" if found is None else f" (is it {ENCODINGS[found]}? iconv -f {found} -t UTF-8 converts)"
