"""Opening an input: a file, compressed or not, a pipe, or standard input."""

from __future__ import annotations

import io
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import IO, cast

from ..errors import InputError
from .compression import ENDINGS, decompressed, require_compression


@dataclass(frozen=True, slots=True)
class InputFile:
    """An opened input: the stream to read, and the file below it, whose position tells the progress.

    Attributes:
        size: bytes of the file as stored, None where it is not known (a pipe).
    """

    name: str
    stream: IO[bytes]
    stored: IO[bytes]
    size: int | None

    @property
    def live(self) -> bool:
        """Whether its next line may be long in coming."""
        return self.size is None

    def position(self) -> int:
        """Bytes of the stored file read so far; 0 where `size` is None."""
        return self.stored.tell() if self.size is not None else 0


@contextmanager
def open_input(path: str) -> Iterator[InputFile]:
    """Open a file, decompressing `.gz` and `.zst`; `-` is standard input.

    Raises:
        InputError: the file is missing or unreadable.
        DependencyError: zstandard is not installed.
    """
    stored = _standard_input() if path == "-" else _opened(path)
    name = "standard input" if path == "-" else path
    status = _status(stored)
    ending = PurePath(path).suffix.lower()
    stream: IO[bytes] = stored
    if ending in ENDINGS:
        require_compression(ending)
        stream = decompressed(stored, ending)
    if status is None or not stat.S_ISREG(status.st_mode):
        # Not closed: a thread may be waiting for its next line, and closing would wait for the thread.
        yield InputFile(name, stream, stored, None)
        return
    with stored:
        yield InputFile(name, stream, stored, status.st_size)


def _opened(path: str) -> io.BufferedReader:
    try:
        return Path(path).open("rb")
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _standard_input() -> io.BufferedReader:
    if sys.stdin is None:
        raise InputError("standard input is closed; name a file with --input, or open it")
    try:
        descriptor = sys.stdin.fileno()
    except (OSError, ValueError):  # a stand-in without a file
        return cast("io.BufferedReader", sys.stdin.buffer)
    # Not sys.stdin's own buffer: the interpreter wants that one's lock when it ends, and a waiting thread has it.
    return io.BufferedReader(io.FileIO(descriptor, "rb", closefd=False))


def _status(stored: io.BufferedReader) -> os.stat_result | None:
    try:
        return os.fstat(stored.fileno())
    except (OSError, ValueError):
        return None
