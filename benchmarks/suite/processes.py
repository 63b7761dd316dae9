"""Starting an engine's process and reading its result."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spladert.bench.processes import run_task

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
        """The task's result; {"failed": why} if it ends in an error, whose text goes to standard error."""
        return run_task(
            "benchmarks.suite.worker",
            {**self.common, "task": task, "engine": engine, **more},
            python=self.pythons.get(engine, sys.executable),
            folder=ROOT,
            environment=environment(self.common["threads"]),
        )

    def floors(self) -> dict[str, Any]:
        """What the machine can do at best, by this interpreter; as `run`."""
        threads = self.common["threads"]
        return run_task("benchmarks.suite.floors", {"threads": threads}, folder=ROOT, environment=environment(threads))


def environment(threads: int) -> dict[str, str]:
    return {"OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}
