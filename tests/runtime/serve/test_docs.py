"""The commands of docs/serve.md, typed in their order."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.paths import ROOT
from support.readme import blocks, numbers_where_they_agree


def test_the_commands_give_what_the_page_shows() -> None:
    found = [block for block in blocks((ROOT / "docs" / "serve.md").read_text(encoding="utf-8")) if not block.skip]
    script = "\n".join(["set -euo pipefail", *(block.code for block in found)])
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=ROOT,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    shown = "\n".join(block.output for block in found if block.output)
    pairs = numbers_where_they_agree(f"{shown}\n...", done.stdout.replace("]", "] "))
    assert pairs, done.stdout
    for expected, got in pairs:
        assert float(got) == pytest.approx(float(expected), rel=1e-2)  # by processor
    listed = re.findall(r"^(\d+) entries, heaviest \[(.*)\]: ", done.stdout, re.MULTILINE)
    assert [len(ids.split(", ")) for _, ids in listed] == [min(int(entries), 3) for entries, _ in listed]
    assert "당뇨병 치료" in done.stdout.splitlines()[-1]


def test_the_example_says_that_there_is_no_server() -> None:
    command = [sys.executable, ROOT / "examples" / "serve" / "client.py", "http://127.0.0.1:9"]
    done = subprocess.run(command, input="당뇨병\n", capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("http://127.0.0.1:9 cannot be reached: ")
