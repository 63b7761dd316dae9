"""The README's code blocks, run in their order in one folder, as its reader would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from spladert import SparseEncoder
from support.datasets import small_dataset
from support.paths import ROOT
from support.readme import Block, blocks, numbers_where_they_agree
from support.terminal import run_in_terminal

BLOCKS = blocks()


class Reader:
    """Runs the blocks, each once and after those before it."""

    def __init__(self, folder: Path, shared: Path | None) -> None:
        self.folder = folder
        self.has_shared = shared is not None
        self.environment = os.environ | {
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "HF_HUB_OFFLINE": "1",
        }
        self.done: dict[int, tuple[int, str]] = {}
        for name in ("training", "benchmarks"):
            (folder / name).symlink_to(ROOT / name)
        texts = ["당뇨병 치료 방법", "계약서", "손해배상 청구"]
        (folder / "texts.txt").write_text("\n".join(texts) + "\n", encoding="utf-8")
        documents = [{"id": f"d{i}", "text": text, "body": text} for i, text in enumerate(texts)]
        lines = [json.dumps(document, ensure_ascii=False) for document in documents]
        (folder / "docs.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        if shared is not None:
            small_dataset(shared / "data" / "tydi_retrieval", folder / "tydi_retrieval")  # no output shows its scores

    def why_not(self, block: Block) -> str | None:
        """Why a block is not run here."""
        if "tydi_retrieval" in block.code and not self.has_shared:
            return "needs the shared data: set SPLADERT_SHARED to its folder"
        return block.skip

    def run(self, number: int) -> tuple[int, str]:
        """Exit status and output of a block."""
        for earlier in range(number + 1):
            if earlier not in self.done and self.why_not(BLOCKS[earlier]) is None:
                self.done[earlier] = self._run(BLOCKS[earlier])
        return self.done[number]

    def _run(self, block: Block) -> tuple[int, str]:
        if block.language == "sh":
            return run_in_terminal(["bash", "-euo", "pipefail", "-c", block.code], self.folder, self.environment)
        command = [sys.executable, "-c", block.code]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=self.folder, env=self.environment
        )
        return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    shared = Path(os.environ.get("SPLADERT_SHARED", ROOT.parent / "shared"))
    return Reader(tmp_path_factory.mktemp("readme"), shared.resolve() if shared.is_dir() else None)


@pytest.mark.parametrize("number", range(len(BLOCKS)), ids=[f"line {block.line}" for block in BLOCKS])
def test_a_block_runs_and_gives_what_the_readme_shows(number: int, reader: Reader) -> None:
    block = BLOCKS[number]
    assert block.language in ("sh", "python"), f"README.md, line {block.line}: nothing here runs {block.language!r}"
    if reason := reader.why_not(block):
        pytest.skip(reason)
    pytest.importorskip("torch", reason="needs the dev and export extras: pip install 'spladert[cpu,export,dev]'")
    status, output = reader.run(number)
    assert status == 0, output
    if block.output is None:
        return
    numbers = numbers_where_they_agree(block.output, output)
    assert numbers is not None, output
    if block.language == "python":  # the others show times and sizes
        with SparseEncoder.load() as encoder:  # the numbers shown are of another instruction set than AMX
            rel = 1e-2 if encoder.engine.runs_on.endswith("amx") else 1e-3
        for shown, found in numbers:
            assert float(found) == pytest.approx(float(shown), rel=rel)


def test_blocks_are_found_with_their_output_and_the_reason_to_skip_them() -> None:
    text = (
        "a\n\n```sh\nls\n```\n\n```\nfile\n```\n\n<!-- test: skip, needs the hub -->\n```python\nprint(1)\n```\n\nb\n"
    )
    assert blocks(text) == [
        Block("sh", "ls\n", "file\n", None, 3),
        Block("python", "print(1)\n", None, "needs the hub", 11),
    ]


@pytest.mark.parametrize(
    ("shown", "printed", "numbers"),
    [
        ("a 1.5 b\n", "\na   2.5\n b  \n", [("1.5", "2.5")]),
        ("('x', 1.25)\n", "('x', 3)\n", [("1.25", "3")]),
        ("a\n...\nz 1e-06\n", "a\nb\nc\nz 2.5e-07\n", [("1e-06", "2.5e-07")]),
        ("0:00:12 24,000\n", "0:00:01 3\n", [("0:00:12", "0:00:01"), ("24,000", "3")]),
        ("a\n", "b\n", None),
        ("a 1\n", "a b\n", None),
        ("a\n", "a\nb\n", None),
        ("a\n...\nb\n", "a\nxb\n", None),
        ("a\n", "", None),
    ],
)
def test_outputs_agree_but_for_their_numbers(shown: str, printed: str, numbers: list[tuple[str, str]] | None) -> None:
    assert numbers_where_they_agree(shown, printed) == numbers
