"""Running a command in a terminal, as people do: the command line shows tables and bars only there."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

WIDTH = 100


def run_in_terminal(
    command: Sequence[str | Path],
    folder: Path,
    environment: Mapping[str, str],
    timeout: float = 600,
    encoding: str = "utf-8",
) -> tuple[int, str]:
    """Exit status, and what the command wrote to a terminal of WIDTH columns without colours."""
    import pty

    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [str(part) for part in command],
        cwd=folder,
        env={**environment, "TERM": "dumb", "COLUMNS": str(WIDTH)},
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    written = b""
    try:
        while part := os.read(ours, 65536):
            written += part
    except OSError:  # Linux's end of file, once the last writer is gone
        pass
    finally:
        os.close(ours)
    return process.wait(timeout), written.decode(encoding).replace("\r\n", "\n")
