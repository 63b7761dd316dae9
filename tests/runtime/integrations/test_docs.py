"""The commands and the program of the page about clusters, run as they stand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.paths import ROOT
from support.readme import Block, blocks, numbers_where_they_agree

pytest.importorskip("ray", reason="needs the ray extra: pip install 'spladert[ray]'")
pytestmark = pytest.mark.usefixtures("ray_alone")
RAYS_OWN = re.compile(r"^\[\d{4}-\d\d-\d\d .*\n", re.MULTILINE)  # lines of its log, by date
BLOCKS = [block for block in blocks((ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")) if block.skip is None]


@pytest.fixture
def a_cluster_that_has_gone() -> Iterator[str]:
    """A folder in which Ray finds the address of one; in a short path, as its sockets need it."""
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        file = Path(folder, "ray", "ray_current_cluster")
        file.parent.mkdir()
        file.write_text("192.0.2.2:43083", encoding="ascii")
        yield folder


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: f"line {block.line}")
def test_a_block_runs_and_gives_what_the_page_shows(block: Block, tmp_path: Path, a_cluster_that_has_gone: str) -> None:
    environment = {**os.environ, "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
    environment.pop("RAY_ADDRESS", None)
    if block.language == "sh":  # what starts Ray itself joins no cluster unasked
        environment["RAY_TMPDIR"] = a_cluster_that_has_gone
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
    printed = RAYS_OWN.sub("", done.stdout)
    shown = printed[printed.index(block.output[:2]) :] if block.language == "sh" else printed
    assert numbers_where_they_agree(block.output, shown) is not None, done.stdout
