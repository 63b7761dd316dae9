"""The commands and the program of the page about clusters, run as they stand."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.paths import ROOT
from support.readme import Block, blocks, numbers_where_they_agree

pytest.importorskip("ray", reason="needs the ray extra: pip install 'spladert[ray]'")
pytestmark = pytest.mark.usefixtures("ray_alone")
BLOCKS = [block for block in blocks((ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")) if block.skip is None]


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: f"line {block.line}")
def test_a_block_runs_and_gives_what_the_page_shows(block: Block, tmp_path: Path) -> None:
    environment = {**os.environ, "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
    environment.pop("RAY_ADDRESS", None)
    command = ["bash", "-euo", "pipefail", "-c"] if block.language == "sh" else [sys.executable, "-c"]
    done = subprocess.run(
        [*command, block.code],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if block.language == "sh" else subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert block.output is not None
    shown = done.stdout[done.stdout.index(block.output[:2]) :] if block.language == "sh" else done.stdout
    assert numbers_where_they_agree(block.output, shown) is not None, done.stdout
