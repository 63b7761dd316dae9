"""A judged set of two documents, in the BEIR layout."""

from __future__ import annotations

import json
from pathlib import Path


def write_dataset(folder: Path) -> Path:
    folder.mkdir()
    _write(
        folder / "corpus.jsonl",
        {"_id": "d1", "title": "당뇨병", "text": "치료 방법"},
        {"_id": "d2", "text": "계약서"},
    )
    _write(folder / "queries.jsonl", {"_id": "q1", "text": "계약서"}, {"_id": "q2", "text": "없음"})
    (folder / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td2\t1\nq2\td1\t0\n", encoding="utf-8")
    return folder


def _write(path: Path, *rows: dict[str, str]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
