"""A table of query weights counted in a corpus, and the bundle that has it."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from spladert import SparseEncoder
from spladert.bundle import open_bundle
from spladert.cli import main
from support.checkpoints import LINES


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.jsonl"
    rows = [{"_id": str(i), "title": "인공지능", "text": line} for i, line in enumerate(LINES)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_queries_are_weighed_by_the_rareness_of_their_tokens(tiny_bundle: Path, corpus: Path, tmp_path: Path) -> None:
    before = contents(tiny_bundle)
    arguments = ["idf", str(corpus), str(tiny_bundle), str(tmp_path / "out"), "--field", "title", "--field", "text"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.stderr
    assert result.stderr.startswith(f"{len(LINES)} documents; ")
    assert contents(tiny_bundle) == before
    arguments[3] = str(tmp_path / "again")
    result = CliRunner().invoke(main, [*arguments, "--json", "-"])
    assert json.loads(result.stdout) == {"path": arguments[3], "documents": len(LINES)}
    encoder = SparseEncoder.load(tmp_path / "out")
    assert encoder.manifest.requires == ("query-table",)
    everywhere, once = encoder.tokenize_batch(["인공지능", "fox"], special_tokens=False).input_ids
    texts = encoder.tokenize_batch([f"인공지능 {line}" for line in LINES], special_tokens=False).input_ids
    query = encoder.encode_query("인공지능 fox").to_dict()
    assert set(query) == {*everywhere, *once}
    for token, weight in query.items():
        n = sum(token in ids for ids in texts)
        assert weight == pytest.approx(math.log(1 + (len(LINES) - n + 0.5) / (n + 0.5)), rel=1e-6)
    assert max(query[i] for i in everywhere) < max(query[i] for i in once)
    assert encoder.encode_document(LINES) == SparseEncoder.load(tiny_bundle).encode_document(LINES)
    table = np.load(tmp_path / "out" / "query-weights.npy")
    assert (table[list(encoder.manifest.special_token_ids)] == 0).all()
    assert len(open_bundle(tmp_path / "out").manifest.variants) == len(open_bundle(tiny_bundle).manifest.variants)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "there are no documents"),
        ("{", "line 1: not valid JSON"),
        ('{"text": "a\\ud800"}', "line 1: field 'text' has a"),
    ],
)
def test_a_corpus_that_cannot_be_counted(tiny_bundle: Path, tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "corpus.jsonl").write_text(line)
    result = CliRunner().invoke(main, ["idf", str(tmp_path / "corpus.jsonl"), str(tiny_bundle), str(tmp_path / "out")])
    assert result.exit_code == 1
    assert message in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus.jsonl"]


def test_nothing_is_overwritten(tiny_bundle: Path, corpus: Path) -> None:
    result = CliRunner().invoke(main, ["idf", str(corpus), str(tiny_bundle), str(corpus.parent)])
    assert result.exit_code == 1
    assert result.stderr == f"error: {corpus.parent} exists; choose another folder\n"
    inside = CliRunner().invoke(main, ["idf", str(corpus), str(tiny_bundle), str(tiny_bundle / "idf")])
    assert inside.exit_code == 1
    assert "is in the bundle" in inside.stderr
    assert not (tiny_bundle / "idf").exists()
