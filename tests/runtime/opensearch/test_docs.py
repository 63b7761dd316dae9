"""The commands of docs/opensearch.md, run as they stand against a real node."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support.paths import ROOT

PAGE = ROOT / "docs" / "opensearch.md"
INDEXES = "docs,docs-2,thirty-lines"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_the_page_goes_from_an_empty_cluster_to_a_hybrid_search(client: Any, address: str, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the page packages a bundle: pip install 'spladert[export]'")
    client.indices.delete(index=INDEXES, ignore_unavailable=True)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "XDG_STATE_HOME": str(tmp_path / "state"),
    }
    outputs = []
    commands = blocks("sh")
    for block in commands:
        script = "set -e\n" + block.replace("localhost:9200", address)
        done = subprocess.run(
            ["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}"
        outputs.append(done.stdout + done.stderr)
    everything = "".join(outputs)
    assert "4 texts" in everything
    assert "the alias 'search' is docs-2 now" in everything
    assert "rrf [('diabetes'" in everything
    assert "deployed, and answers" in everything
    registered = everything.partition("model_id ")[2].partition(":")[0]
    client.transport.perform_request("POST", f"/_plugins/_ml/models/{registered}/_undeploy")
    client.transport.perform_request("DELETE", f"/_plugins/_ml/models/{registered}")
    client.indices.delete(index=INDEXES, ignore_unavailable=True)


def test_the_python_of_the_page_runs() -> None:
    for block in blocks("python"):
        exec(compile(block, str(PAGE), "exec"), {})
