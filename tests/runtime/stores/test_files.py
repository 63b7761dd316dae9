"""Files for other programs: Vespa's feed, Elasticsearch's bulk requests, npz and parquet, each read by its consumer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spladert import SparseEncoder, SparseVectors, elasticsearch, vespa
from spladert.evaluation.retrieval import search as exact_search
from spladert.vectors import SparseVector
from support.store_command import DOCUMENTS, LONG, QUESTIONS, encode, write

Ranking = list[list[str]]


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def exact(encoder: SparseEncoder) -> Ranking:
    vectors = encoder.encode_document([document["text"] for document in DOCUMENTS])
    found = exact_search(encoder.encode_query(QUESTIONS), vectors)
    return [[DOCUMENTS[i]["_id"] for i in best.tolist()] for best in found]


def ranked(encoder: SparseEncoder, ids: list[str], documents: list[dict[str, float]]) -> Ranking:
    """What a dot product of `{token: weight}` finds, equal scores in the documents' order."""
    ranking = []
    for question in QUESTIONS:
        asked = encoder.to_tokens(encoder.encode_query(question))
        scores = [sum(weight * row.get(token, 0.0) for token, weight in asked.items()) for row in documents]
        best = sorted(range(len(ids)), key=lambda i: -np.float32(scores[i]))
        ranking.append([ids[i] for i in best if scores[i] > 0][:10])
    return ranking


@pytest.mark.parametrize(("name", "options"), [("feed.vespa.jsonl", []), ("feed.jsonl", ["--format", "vespa"])])
def test_a_feed_for_vespa(encoder: SparseEncoder, tmp_path: Path, name: str, options: list[str]) -> None:
    encode(write(tmp_path / "docs.jsonl", *DOCUMENTS), str(tmp_path / name), *options)
    fed = lines(tmp_path / name)
    for line, document in zip(fed, DOCUMENTS, strict=True):
        assert line.keys() == {"put", "fields"}
        assert line["put"] == f"id:spladert:doc::{document['_id']}"
        assert (line["fields"]["text"], line["fields"]["number"]) == (document["text"], document["number"])
    vectors = [line["fields"]["sparse"]["cells"] for line in fed]
    assert vectors[0] == pytest.approx(encoder.to_tokens(encoder.encode_document(DOCUMENTS[0]["text"])))
    assert ranked(encoder, [document["_id"] for document in DOCUMENTS], vectors) == exact(encoder)


def test_the_schema_is_what_vespas_own_types_make(encoder: SparseEncoder) -> None:
    package = pytest.importorskip("vespa.package", reason="needs pyvespa")
    text = package.Field("text", "string", indexing=["index", "summary"], index="enable-bm25")
    sparse = package.Field("sparse", vespa.TENSOR, indexing=["attribute", "summary"])
    made = package.Schema("doc", package.Document([text, sparse]))
    profile = package.RankProfile(
        "sparse", first_phase="sum(query(q) * attribute(sparse))", inputs=[("query(q)", vespa.TENSOR)]
    )
    made.add_rank_profile(profile)
    assert vespa.schema().split() == made.schema_to_text.split()
    body = vespa.query_body(encoder, encoder.encode_query("당뇨병"), top=3)
    assert body["input.query(q)"]["cells"] == encoder.to_tokens(encoder.encode_query("당뇨병"))


@pytest.mark.parametrize(("name", "options"), [("a.bulk.ndjson", []), ("a.ndjson", ["--format", "elasticsearch"])])
def test_bulk_requests_for_elasticsearch(encoder: SparseEncoder, tmp_path: Path, name: str, options: list[str]) -> None:
    encode(write(tmp_path / "docs.jsonl", *DOCUMENTS), str(tmp_path / name), *options)
    sent = lines(tmp_path / name)
    assert sent[::2] == [{"index": {"_id": document["_id"]}} for document in DOCUMENTS]
    for line, document in zip(sent[1::2], DOCUMENTS, strict=True):
        assert (line["text"], line["number"]) == (document["text"], document["number"])
    found = ranked(encoder, [document["_id"] for document in DOCUMENTS], [line["sparse"] for line in sent[1::2]])
    for these, best in zip(found, exact(encoder), strict=True):  # weights have the nine bits that the index keeps
        assert len(set(these) & set(best)) >= len(best) - 1
        assert these[0] == best[0]


def test_elasticsearchs_bodies_are_those_of_its_own_types(encoder: SparseEncoder) -> None:
    dsl = pytest.importorskip("elasticsearch.dsl", reason="needs elasticsearch")
    types = pytest.importorskip("elasticsearch.dsl.types", reason="needs elasticsearch")
    keys = elasticsearch.keys_of(encoder.bundle)
    vector = encoder.encode_query("당뇨병 3.5")
    pruning = {"tokens_freq_ratio_threshold": 5, "tokens_weight_threshold": 0.4}
    for how in (None, pruning):
        body = elasticsearch.query_body(vector, keys=keys, pruning=how, top=5)
        config = {} if how is None else {"pruning_config": types.TokenPruningConfig(**how)}
        weights = elasticsearch.query_tokens(vector, keys)
        assert not any("." in token for token in weights)
        query = dsl.query.SparseVector(field="sparse", query_vector=weights, prune=how is not None, **config)
        assert body == {"size": 5, "query": query.to_dict()}
    mapping = dsl.Mapping()
    mapping.field("sparse", dsl.SparseVector())
    mapping.field("text", dsl.Text())
    body = elasticsearch.index_body(encoder.bundle)
    assert body["mappings"]["properties"] == mapping.to_dict()["properties"]
    assert body["mappings"]["_meta"]["spladert"]["source"] == "korean-splade-small"


@pytest.mark.parametrize("name", ["a.vespa.jsonl", "a.bulk.ndjson"])
def test_what_json_cannot_hold_goes_to_the_side_file(tmp_path: Path, name: str) -> None:
    bad = ['{"text": "가", "other": "\\ud800"}', '{"text": "가", "sparse": 1}']
    path = write(tmp_path / "docs.jsonl", *bad, "{no json", DOCUMENTS[0])
    done = encode(path, str(tmp_path / name), "--skip-errors")
    assert "2 documents cannot be in this format" in done.stderr
    errors = [json.loads(line)["error"] for line in (tmp_path / f"{name}.errors.jsonl").read_text().splitlines()]
    assert [error.split(":")[0] for error in errors[:2]] == [
        "the document cannot be JSON",
        "the document has a field 'sparse' already, where its vector is to be",
    ]
    assert len(errors) == 3
    assert len(lines(tmp_path / name)) in (1, 2)
    streamed = encode(path, "-", "--skip-errors", "--format", "vespa")
    assert len(streamed.stdout.splitlines()) == 1
    assert streamed.stderr.count("skipped line") == 3
    readable = write(tmp_path / "readable.jsonl", bad[0], DOCUMENTS[0])
    for output, form in ((str(tmp_path / f"b.{name}"), ()), ("-", ("--format", "vespa"))):
        encode(readable, output, *form, status=3)


def test_a_folder_of_bulk_requests_keeps_pairs_together(tmp_path: Path) -> None:
    encode(write(tmp_path / "docs.jsonl", *DOCUMENTS[:3]), f"{tmp_path}/parts/", "--format", "elasticsearch")
    assert len(lines(tmp_path / "parts" / "part-00000.bulk.ndjson")) == 6


def test_npz_and_parquet_are_read_by_their_readers(encoder: SparseEncoder, tmp_path: Path) -> None:
    from scipy.sparse import load_npz

    datasets = pytest.importorskip("datasets", reason="needs datasets of Hugging Face")
    path = write(tmp_path / "docs.jsonl", *DOCUMENTS)
    encode(path, str(tmp_path / "a.npz"), "--side", "document")
    encode(path, str(tmp_path / "a.parquet"), "--side", "document")
    asked = encoder.encode_query(QUESTIONS)
    matrix = load_npz(tmp_path / "a.npz")
    ids = np.load(tmp_path / "a.npz")["ids"].tolist()
    rows = [SparseVector(matrix[[i]].indices, matrix[[i]].data) for i in range(matrix.shape[0])]
    found = exact_search(asked, SparseVectors.from_rows(rows, matrix.shape[1]))
    assert [[ids[i] for i in best.tolist()] for best in found] == exact(encoder)
    table = datasets.Dataset.from_parquet(str(tmp_path / "a.parquet"), cache_dir=str(tmp_path / "cache"))
    rows = [SparseVector(np.array(row["indices"], np.int32), np.array(row["values"], np.float32)) for row in table]
    found = exact_search(asked, SparseVectors.from_rows(rows, matrix.shape[1]))
    assert [[table["id"][i] for i in best.tolist()] for best in found] == exact(encoder)


def test_passages_have_their_offsets_in_every_file(tmp_path: Path) -> None:
    import pyarrow.parquet

    path = write(tmp_path / "docs.jsonl", {"_id": "long", "text": LONG, "year": 2020})
    for name in ("a.jsonl", "a.parquet", "a.npz", "a.vespa.jsonl"):
        encode(path, str(tmp_path / name), "--passages")
    spans = [(line["begin"], line["end"]) for line in lines(tmp_path / "a.jsonl")]
    assert len(spans) > 2
    assert spans[0][0] == 0
    assert spans[-1][1] == len(LONG)
    table = pyarrow.parquet.read_table(tmp_path / "a.parquet").to_pydict()
    assert list(zip(table["begin"], table["end"], strict=True)) == spans
    assert table["id"] == [f"long#{n}" for n in range(len(spans))]
    arrays = np.load(tmp_path / "a.npz")
    assert list(zip(arrays["begin"].tolist(), arrays["end"].tolist(), strict=True)) == spans
    fed = lines(tmp_path / "a.vespa.jsonl")[1]["fields"]
    assert (fed["year"], fed["text"]) == (2020, LONG[spans[1][0] : spans[1][1]])
    assert fed["_passage"] == {"document": "long", "number": 1, "begin": spans[1][0], "end": spans[1][1]}


@pytest.mark.parametrize(("name", "refused"), [("feed.vespa.jsonl", 3), ("feed.bulk.ndjson", 2)])
def test_what_a_store_would_refuse_is_not_in_its_feed(tmp_path: Path, name: str, refused: int) -> None:
    bad = [
        {"_id": "", "text": "당뇨병"},
        {"_id": "c", "text": "당뇨병", "_passage": {"document": "x"}},
        {"_id": "b", "text": "당뇨병\0치료"},
    ]
    path = write(tmp_path / "docs.jsonl", *DOCUMENTS[:1], *bad)
    encode(path, str(tmp_path / name), "--skip-errors")
    good = (tmp_path / name).read_text(encoding="utf-8").splitlines()
    assert len(good) == (1 + len(bad) - refused) * (2 if "bulk" in name else 1)
    errors = [line["error"] for line in lines(tmp_path / f"{name}.errors.jsonl")]
    messages = ["id is empty", "a field '_passage'", "U+0000, which Vespa does not take"][:refused]
    assert all(message in error for message, error in zip(messages, errors, strict=True))
