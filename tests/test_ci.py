"""What runs elsewhere: the workflows are well-formed and name what is there, the script of CI parses."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from support.paths import ROOT

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_is_well_formed(path: Path) -> None:
    yaml = pytest.importorskip("yaml", reason="needs PyYAML, which comes with the export extra")
    workflow: dict[Any, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    triggers = workflow[True]  # YAML 1.1 reads `on` as true
    assert workflow["name"] == path.stem
    assert workflow["permissions"] == {"contents": "read"}
    for pattern in triggers["pull_request"]["paths"]:
        assert list(ROOT.glob(pattern)), pattern
    for name, job in workflow["jobs"].items():
        assert job["runs-on"], name
        for step in job["steps"]:
            assert ("uses" in step) != ("run" in step), step
            if "uses" in step:
                assert re.fullmatch(r"[\w.-]+/[\w.-]+@v\d+", step["uses"]), step
            else:
                subprocess.run(["bash", "-n"], input=step["run"], text=True, check=True)


def test_the_script_of_ci_parses() -> None:
    subprocess.run(["bash", "-n", ROOT / ".ci/run"], check=True)
