"""Parts of a corpus into each store, as a cluster's workers send them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from spladert import SparseEncoder
from spladert.bundle import open_bundle
from spladert.cluster import ClusterJob, Places, begin, encode_part, find_parts, prepare_store
from spladert.files import Encoding
from spladert.stores import Connection, How, open_searcher

pytest.importorskip("pyarrow", reason="needs the parquet extra: pip install 'spladert[parquet]'")


def test_parts_into_a_store(encoder: SparseEncoder, store: str, tmp_path: Path) -> None:
    documents = [{"id": f"d{n}", "text": f"당뇨병 치료 {n}", "n": n} for n in range(20)]
    lines = [json.dumps(document) for document in documents]
    (tmp_path / "in.jsonl").write_text("\n".join([*lines[:10], "{", *lines[10:]]), encoding="utf-8")
    places = Places(str(tmp_path / "in.jsonl"), str(tmp_path / "record"), store)
    job = ClusterJob(places, encoding=Encoding("document"))
    parts = find_parts(job.source, 300)
    assert len(parts) > 2
    begin(job, open_bundle(), parts)
    prepare_store(encoder, job, Connection())
    reports = [encode_part(encoder, job, part) for part in (*parts, parts[0])]  # the first one twice
    assert sum(report.rows for report in reports[:-1]) == 20
    assert sum(report.rejected for report in reports) == 1
    [error] = [json.loads(line) for path in (tmp_path / "record" / "_errors").iterdir() for line in path.open()]
    assert "not valid JSON" in error["error"]
    with open_searcher(store, Connection()) as searcher:
        hits = searcher.search(encoder, "당뇨병", How(top=100)).hits
    assert sorted(hit.id for hit in hits) == sorted(document["id"] for document in documents)
    assert {hit.fields["n"] for hit in hits} == set(range(20))
