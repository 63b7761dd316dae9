from __future__ import annotations

from pathlib import Path

import pytest

from spladert.bench.processes import run_task

MODULE = """
import json, os, sys, time
spec = json.load(open(sys.argv[1]))
if spec.get("fails"):
    sys.exit(spec["fails"])
print("something else first")
print(json.dumps({"sum": spec["a"] + spec["b"], "waited": time.monotonic() - spec["started"],
                  "set": os.environ.get("TASK_SET"), "folder": os.getcwd()}))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "task_of_a_test.py").write_text(MODULE, encoding="utf-8")
    return tmp_path


def test_a_task_gets_its_spec_and_its_last_line_is_the_result(folder: Path) -> None:
    result = run_task("task_of_a_test", {"a": 1, "b": 2}, folder=folder, environment={"TASK_SET": "yes"})
    assert result.pop("waited") > 0
    assert result == {"sum": 3, "set": "yes", "folder": str(folder.resolve())}


def test_a_task_that_fails_says_why(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run_task("task_of_a_test", {"fails": "it is\nbroken"}, folder=folder) == {"failed": "broken"}
    assert "it is\nbroken" in capfd.readouterr().err
    assert run_task("task_of_a_test", {"fails": 3}, folder=folder) == {"failed": "exit status 3, no message"}
