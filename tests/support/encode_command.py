"""`spladert encode` in tests: in this process, and as a process that can be stopped."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

from click.testing import Result

# A job in the background may ignore SIGINT and hand that down to the tests, and on to their commands.
HEAR = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
COMMAND = [sys.executable, "-c", f"{HEAR}; from spladert.cli import main; main()", "encode", "--threads", "1"]
LINES = [f"{i} 당뇨병 치료 방법 {i % 7}" * (i % 5) for i in range(2500)]

Run = Callable[..., Result]


def json_lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]
