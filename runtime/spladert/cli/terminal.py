"""Standard output and error as they are found: closed, without a reader, or of an encoding that lacks letters."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import IO, TYPE_CHECKING, TextIO

from ..errors import InputError

if TYPE_CHECKING:
    from rich.console import Console


class _ClosedOutput(io.TextIOBase):
    """Stands in for a standard output that is closed; whoever writes to it gets one clear error."""

    @property
    def buffer(self) -> IO[bytes]:  # as TextIOWrapper has it
        raise self._error()

    def write(self, text: str) -> int:
        raise self._error()

    @staticmethod
    def _error() -> InputError:
        return InputError("standard output is closed; open it, or name a file to write to")


def prepare_output() -> None:
    """Let text be printed whatever standard output is: letters that it lacks come out as escapes such as `\\u2588`."""
    if sys.stdout is None:
        sys.stdout = _ClosedOutput()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def drop_output() -> None:
    """Forget what standard output could not take, which the interpreter would try to write once more at its end."""
    try:
        sys.stdout.flush()
    except OSError:
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def is_unicode(stream: TextIO) -> bool:
    """Whether a stream takes every letter."""
    return (stream.encoding or "").lower().replace("-", "").startswith("utf")


def stdout_console() -> Console:
    """A console of standard output whose reader may go away: that is a BrokenPipeError, as everywhere."""
    from rich.console import Console

    class PipedConsole(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    return PipedConsole(highlight=False)
