"""Parts of a corpus into each store, as a cluster's workers send them."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from spladert import SparseEncoder
from spladert.bundle import FILE_NAME, open_bundle
from spladert.cluster import ClusterJob, Places, begin, encode_part, find_parts, prepare_store
from spladert.errors import StoreError
from spladert.files import Encoding
from spladert.passages import Passages
from spladert.stores import Connection, How, open_searcher

pytest.importorskip("pyarrow", reason="needs the parquet extra: pip install 'spladert[parquet]'")
from support.store_command import LONG, ask


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
    texts = [str(document["text"]) for document in documents]
    ids = encoder.tokenize_batch(texts, side="document").input_ids
    assert sum(report.tokens for report in reports[:-1]) == sum(map(len, ids))
    [error] = [json.loads(line) for path in (tmp_path / "record" / "_errors").iterdir() for line in path.open()]
    assert "not valid JSON" in error["error"]
    with open_searcher(store, Connection()) as searcher:
        hits = searcher.search(encoder, "당뇨병", How(top=100)).hits
    assert sorted(hit.id for hit in hits) == sorted(document["id"] for document in documents)
    assert {hit.fields["n"] for hit in hits} == set(range(20))


@pytest.mark.parametrize("store", ["qdrant"], indirect=True)
def test_what_goes_into_a_store_is_a_document(store: str, tiny_bundle: Path, tmp_path: Path) -> None:
    path = Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))
    manifest = replace(open_bundle(path).manifest, prompts={"document": "법원: "}, requires=("prompts",))
    (path / FILE_NAME).write_text(manifest.to_json(), encoding="utf-8")
    (tmp_path / "in.txt").write_text("계약서\n", encoding="utf-8")
    job = ClusterJob(Places(str(tmp_path / "in.txt"), str(tmp_path / "record"), store), str(path))
    [part] = parts = find_parts(job.source, 10**6)
    with SparseEncoder.load(path, threads=1, spin=False) as prompted:
        begin(job, prompted.bundle, parts)
        encode_part(prompted, job, part)
        document, asked = prompted.encode_document("계약서").to_dict(), prompted.encode_query("계약서").to_dict()
        with open_searcher(store, Connection()) as searcher:
            (hit,) = searcher.search(prompted, "계약서").hits
    assert hit.score == pytest.approx(sum(weight * document.get(i, 0.0) for i, weight in asked.items()), rel=1e-4)


@pytest.mark.parametrize("id", ["bad", None])
def test_what_a_store_refuses_is_kept_like_other_errors(
    encoder: SparseEncoder, store: str, tmp_path: Path, id: str | None
) -> None:
    bad = {"text": "나", "other": "\ud800"} if id is None else {"id": id, "text": "나", "other": "\ud800"}
    path = tmp_path / "in.jsonl"
    path.write_text("\n".join(["{", '{"text": "a"}', json.dumps(bad)]))
    job = ClusterJob(Places(str(path), str(tmp_path / "record"), store), encoding=Encoding("document"))
    [part] = parts = find_parts(job.source, 10**6)
    begin(job, open_bundle(), parts)
    report = encode_part(encoder, job, part)
    assert (report.rows, report.rejected) == (1, 2)
    [kept] = (tmp_path / "record" / "_errors").iterdir()
    errors = [json.loads(line) for line in kept.open()]
    assert [(error["file"], error["start"], error["line_of_part"]) for error in errors] == [
        (str(path), 0, 1),
        (str(path), 0, 3),
    ]
    assert errors[1]["error"] == "the document cannot be JSON: field 'other' has a lone surrogate (U+D800)"
    raw = json.loads(errors[1]["raw"])
    assert {name: raw[name] for name in ("text", "other")} == {name: bad[name] for name in ("text", "other")}
    assert id is None or raw["_id"] == id


def test_passages_into_a_store(encoder: SparseEncoder, store: str, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text(json.dumps({"id": "long", "text": LONG, "year": 2020}) + "\n", encoding="utf-8")
    places = Places(str(tmp_path / "in.jsonl"), str(tmp_path / "record"), store)
    job = ClusterJob(places, encoding=Encoding("document"), passages=Passages())
    [part] = parts = find_parts(job.source, 10**6)
    begin(job, open_bundle(), parts)
    assert encode_part(encoder, job, part).rows == 1
    (hit,) = ask(store, "당뇨병 식이요법")
    assert hit["passage"]["document"] == "long"
    assert hit["text"] == LONG[hit["passage"]["begin"] : hit["passage"]["end"]]
    assert hit["text"].endswith("식이요법이 중요하다.")


@pytest.mark.usefixtures("ray_alone")
@pytest.mark.parametrize("store", ["postgresql"], indirect=True)
def test_rays_workers_fill_a_store(encoder: SparseEncoder, store: str, tmp_path: Path) -> None:
    ray = pytest.importorskip("ray", reason="needs the ray extra: pip install 'spladert[ray]'")
    from spladert.integrations.ray import encode_corpus

    lines = [json.dumps({"id": f"d{n}", "text": f"당뇨병 치료 {n}"}) for n in range(20)]
    (tmp_path / "in.jsonl").write_text("\n".join(lines), encoding="utf-8")
    gone = store.replace("socket=", "socket=/nowhere")
    ray.init("local", num_cpus=2, object_store_memory=80 * 2**20, log_to_driver=False, logging_level="error")
    try:
        job = ClusterJob(Places(str(tmp_path / "in.jsonl"), str(tmp_path / "record"), store))
        report = encode_corpus(job, part_bytes=300, workers=2)
        assert (report.rows, report.rejected) == (20, 0)
        refused = ClusterJob(Places(str(tmp_path / "in.jsonl"), str(tmp_path / "refused"), gone))
        with pytest.raises(StoreError, match="/nowhere"):
            encode_corpus(refused, part_bytes=300, workers=1)
    finally:
        ray.shutdown()
    with open_searcher(store, Connection()) as searcher:
        assert len(searcher.search(encoder, "당뇨병", How(top=100)).hits) == 20
