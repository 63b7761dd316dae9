"""Small judged sets in the BEIR layout."""

from __future__ import annotations

import json
import shutil
from pathlib import Path


def write_dataset(folder: Path) -> Path:
    """A set of two documents."""
    folder.mkdir()
    _write(
        folder / "corpus.jsonl",
        {"_id": "d1", "title": "당뇨병", "text": "치료 방법"},
        {"_id": "d2", "text": "계약서"},
    )
    _write(folder / "queries.jsonl", {"_id": "q1", "text": "계약서"}, {"_id": "q2", "text": "없음"})
    (folder / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td2\t1\nq2\td1\t0\n", encoding="utf-8")
    return folder


def small_dataset(source: Path, folder: Path, documents: int = 100) -> Path:
    """The first documents of a set, and the questions that they answer."""
    folder.mkdir()
    shutil.copy(source / "queries.jsonl", folder)
    lines = (source / "corpus.jsonl").read_text(encoding="utf-8").splitlines()[:documents]
    (folder / "corpus.jsonl").write_text("\n".join(lines), encoding="utf-8")
    kept = {json.loads(line)["_id"] for line in lines}
    judgements = (source / "qrels.tsv").read_text(encoding="utf-8").splitlines()
    answers = [line for line in judgements if line.split("\t")[1] in {*kept, "corpus-id"}]
    (folder / "qrels.tsv").write_text("\n".join(answers), encoding="utf-8")
    return folder


def _write(path: Path, *rows: dict[str, str]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
