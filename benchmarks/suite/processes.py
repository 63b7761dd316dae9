"""Starting an engine's process and reading its result."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent  # the folder that `benchmarks` is imported from


@dataclass(frozen=True)
class Launcher:
    """Runs tasks of the worker, each in a process of its own.

    Attributes:
        common: the part of the spec that all tasks share.
        pythons: the interpreter of an engine, by its name, where it is not this one.
    """

    common: Mapping[str, Any]
    pythons: Mapping[str, str] = field(default_factory=dict)

    def run(self, task: str, engine: str, **more: Any) -> dict[str, Any]:
        """The task's result in a new process; {"failed": why} if it ends in an error, whose text goes to stderr."""
        with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file:
            started = time.monotonic()
            json.dump({**self.common, "task": task, "engine": engine, "started": started, **more}, file)
            file.flush()
            python = self.pythons.get(engine, sys.executable)
            return run_module(python, "benchmarks.suite.worker", file.name, threads=int(self.common["threads"]))


def run_module(python: str, module: str, argument: str, *, threads: int) -> dict[str, Any]:
    """The JSON object that `python -m module argument` prints last, or {"failed": its last line of stderr}."""
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": str(threads),
        "TOKENIZERS_PARALLELISM": "true",
        "HF_HUB_OFFLINE": "1",
    }
    done = subprocess.run(
        [python, "-m", module, argument], capture_output=True, text=True, check=False, env=environment, cwd=ROOT
    )
    if done.returncode:
        print(done.stderr[-3000:], file=sys.stderr)
        lines = done.stderr.strip().splitlines()
        return {"failed": lines[-1][:200] if lines else f"exit status {done.returncode}, no message"}
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result
