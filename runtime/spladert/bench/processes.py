"""A task in a process of its own: sessions in one process would slow each other, and share their memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def run_task(
    module: str,
    spec: Mapping[str, Any],
    *,
    python: str = sys.executable,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The JSON object that `python -m module SPEC` prints last, or {"failed": its last line of standard error}.

    Args:
        module: takes the path of a JSON file, `spec` with the time of the start (`started`, of `time.monotonic`).
        python: the interpreter.
        folder: where it is run, and the module looked for besides the installed ones; None is here.
        environment: variables besides this process's own.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file:
        json.dump({**spec, "started": time.monotonic()}, file)
        file.flush()
        done = subprocess.run(
            [python, "-m", module, file.name],
            capture_output=True,
            text=True,
            check=False,
            cwd=folder,
            env={**os.environ, "TOKENIZERS_PARALLELISM": "true", **(environment or {})},
        )
    if done.returncode:
        print(done.stderr[-3000:], file=sys.stderr)
        lines = done.stderr.strip().splitlines()
        return {"failed": lines[-1][:200] if lines else f"exit status {done.returncode}, no message"}
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result
