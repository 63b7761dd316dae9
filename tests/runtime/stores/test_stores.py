"""Every store: the same documents, the same questions, the exact ranking, and nothing lost or doubled."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from spladert import SparseEncoder
from spladert.evaluation.retrieval import search as exact_search
from spladert.stores import Connection, open_searcher
from support.paths import ROOT
from support.store_command import DOCUMENTS, LONG, QUESTIONS, WORDS, ask, encode, run, write
from support.store_load import CHUNK, load_into_store


def assert_exact(encoder: SparseEncoder, store: str, documents: list[dict[str, Any]]) -> None:
    """The ten best of each question are those of the exact product, with its scores, tokens, texts and fields."""
    vectors = encoder.encode_document([document["text"] for document in documents])
    with open_searcher(store, Connection()) as searcher:
        for question in QUESTIONS:
            asked = encoder.encode_query([question])
            (best,) = exact_search(asked, vectors)
            dots = (asked.to_scipy() @ vectors.to_scipy().T).toarray()[0]
            hits = searcher.search(encoder, question).hits
            assert [hit.score for hit in hits] == pytest.approx(dots[best].tolist(), rel=1e-4)
            by_id = {document["_id"]: number for number, document in enumerate(documents)}
            for hit in hits:
                document = documents[by_id[hit.id]]
                assert hit.score == pytest.approx(dots[by_id[hit.id]], rel=1e-4)
                assert hit.score == pytest.approx(sum(match.product for match in hit.matches), rel=1e-4)
                assert (hit.text, hit.fields) == (document["text"], {"number": document["number"]})


def test_the_ranking_is_exact(encoder: SparseEncoder, store: str, tmp_path: Path) -> None:
    assert "100 texts" in encode(write(tmp_path / "docs.jsonl", *DOCUMENTS), store).stderr
    assert_exact(encoder, store, DOCUMENTS)
    (hit, *_) = ask(store, "당뇨병 치료", "--top", "1")
    assert hit["tokens"][0]["product"] > 0


def test_documents_with_the_same_id_are_replaced(encoder: SparseEncoder, store: str, tmp_path: Path) -> None:
    encode(write(tmp_path / "docs.jsonl", *DOCUMENTS), store)
    changed = [{**document, "text": f"{WORDS[n % 7]} 변경"} for n, document in enumerate(DOCUMENTS)][:60]
    encode(write(tmp_path / "changed.jsonl", *changed, changed[-1]), store)
    assert_exact(encoder, store, [*changed, *DOCUMENTS[60:]])


def test_ids_of_two_kinds_do_not_become_one(store: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", {"id": 1, "text": "가"}, {"id": "x", "text": "나"}, {"id": "1", "text": "다"})
    done = encode(path, store, status=3)
    assert "1 document was refused by the store" in done.stderr
    (refused,) = (tmp_path / "state").glob("**/*.refused.jsonl")
    line = json.loads(refused.read_text())
    assert line["text"] == "다"
    assert "(here '1'): give all as numbers, or all as text" in line["_refused"]["error"]
    assert {hit["text"] for word in "가나다" for hit in ask(store, word)} == {"가", "나"}
    encode(path, store, "--skip-errors")


def test_a_killed_job_goes_on(encoder: SparseEncoder, store: str, tmp_path: Path) -> None:
    path, state = write(tmp_path / "docs.jsonl", *DOCUMENTS), tmp_path / "state"
    command = [sys.executable, "-m", "support.store_load", store, str(path), str(state), "60"]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'tests'}:{os.environ.get('PYTHONPATH', '')}"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    summary, _ = load_into_store(encoder, store, path, state)
    assert summary.texts == 100
    assert summary.resumed >= 1 * CHUNK
    assert_exact(encoder, store, DOCUMENTS)
    assert list(state.iterdir()) == []


def test_what_is_refused_is_kept_aside(encoder: SparseEncoder, store: str, tmp_path: Path) -> None:
    bad = '{"_id": "bad", "text": "당뇨병", "other": "\\ud800"}'
    unasked = encode(write(tmp_path / "bad.jsonl", bad), store, status=3)
    assert "1 document was refused by the store" in unasked.stderr
    for left in (tmp_path / "state").glob("**/*.refused.jsonl"):
        left.unlink()
    done = encode(write(tmp_path / "docs.jsonl", bad, *DOCUMENTS, "{no json"), store, "--skip-errors")
    assert "1 document was refused by the store" in done.stderr
    assert "1 bad line was skipped" in done.stderr
    (refused,) = (tmp_path / "state").glob("**/*.refused.jsonl")
    line = json.loads(refused.read_text())
    assert (line["_id"], line["other"]) == ("bad", "\ud800")
    reason = "the document cannot be JSON: field 'other' has a lone surrogate (U+D800)"
    assert line["_refused"] == {"line": 1, "error": reason}
    assert_exact(encoder, store, DOCUMENTS)
    mended = write(tmp_path / "mended.jsonl", {**line, "other": "mended"})
    encode(mended, store)
    assert ask(store, "당뇨병", "--filter", "other=mended")[0]["id"] == "bad"


def test_a_field_of_passages_in_a_whole_document_is_refused(store: str, tmp_path: Path) -> None:
    own = {"_id": "own", "text": "당뇨병", "_passage": {"document": "x"}}
    part = {"_id": "x#1", "text": "당뇨병", "_passage": {"document": "x", "number": 1}}  # refused before, mended
    done = encode(write(tmp_path / "docs.jsonl", own, part), store, status=3)
    assert "1 document was refused by the store" in done.stderr
    (refused,) = (tmp_path / "state").glob("**/*.refused.jsonl")
    assert "a field '_passage', which is kept for passages" in json.loads(refused.read_text())["_refused"]["error"]
    assert [hit["id"] for hit in ask(store, "당뇨병")] == ["x#1"]
    encode(write(tmp_path / "new.jsonl", {"_id": "x", "text": "날씨"}), store)
    assert ask(store, "당뇨병") == []


def test_filters(store: str, tmp_path: Path) -> None:
    documents = [
        {
            "id": "a",
            "text": "당뇨병",
            "year": 2020,
            "ok": True,
            "deep": {"b": 1},
            "it's": "x",
            "size": 2,
            "many": 1000000,
        },
        {
            "id": "b",
            "text": "당뇨병",
            "year": "2020",
            "ok": False,
            "price": 1.5,
            "deep.b": "1",
            "size": 2.0,
            "many": 1e6,
        },
        {"id": "c", "text": "당뇨병", "제목": "가 나"},
    ]
    encode(write(tmp_path / "docs.jsonl", *documents), store)
    for filters, found in [
        (["year=2020"], {"a", "b"}),
        (["year=2020", "ok=true"], {"a"}),
        (["ok=false"], {"b"}),
        (["price=1.5"], {"b"}),
        (["제목=가 나"], {"c"}),
        (["size=2"], {"a", "b"}),
        (["size=2.0"], {"a", "b"}),
        (["many=1e6"], {"a", "b"}),
        (["many=1000000"], {"a", "b"}),
        (["year=2020.0"], {"a"}),
        (["deep.b=1"], {"a", "b"}),
        (["it's=x"], {"a"}),
        (["gone=1"], set()),
    ]:
        options = [part for each in filters for part in ("--filter", each)]
        assert {hit["id"] for hit in ask(store, "당뇨병", *options)} == found, filters


def test_passages_are_grouped_and_replaced(store: str, tmp_path: Path) -> None:
    path = write(tmp_path / "docs.jsonl", {"_id": "long", "text": LONG, "year": 2020}, {"_id": "b", "text": "소송"})
    encode(path, store, "--passages")
    (hit,) = ask(store, "당뇨병 식이요법")
    assert hit["passage"]["document"] == "long"
    assert hit["text"] == LONG[hit["passage"]["begin"] : hit["passage"]["end"]]
    assert hit["fields"] == {"year": 2020}
    assert len(ask(store, "오늘 날씨")) == 1
    encode(write(tmp_path / "short.jsonl", {"_id": "long", "text": "오늘 날씨. 비빔밥."}), store, "--passages")
    assert ask(store, "당뇨병 식이요법") == []
    assert [hit["id"] for hit in ask(store, "오늘 날씨")] == ["long#0"]


def test_another_model_is_refused_by_name(store: str, tiny_bundle: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "docs.jsonl", *DOCUMENTS[:3])
    encode(path, store)
    for command in (["encode", "--input", str(path), "--output", store], ["search", store, "당뇨병"]):
        done = run(*command, "--model", str(tiny_bundle))
        assert done.exit_code == 1
        assert "was made with a different weights and tokenizer (model 'korean-splade-small'; now" in done.stderr


def test_clear_answers(store: str, tmp_path: Path) -> None:
    for _ in range(2):
        missing = run("search", store, "당뇨병")
        assert missing.exit_code == 1
        where = store.replace("localhost/", "localhost:5432/")
        assert f"fill it with spladert encode --output '{where}'" in missing.stderr
        assert list(tmp_path.iterdir()) == []  # nothing is made by asking
    encode(write(tmp_path / "docs.jsonl"), store)
    assert ask(store, "당뇨병") == []
    assert "the question is empty" in run("search", store, " ").stderr
    assert "--alias is for OpenSearch" in run("encode", "가", "--output", store, "--alias", "a").stderr
    assert "option 'colour'" in run("search", f"{store}&colour=red", "당뇨병").stderr
    assert "filter's field" in run("search", store, "당뇨병", "--filter", 'a"=1').stderr


@pytest.mark.parametrize("store", ["qdrant"], indirect=True)
def test_no_room_is_one_line(store: str, tmp_path: Path) -> None:
    write(tmp_path / "docs.jsonl", *DOCUMENTS)
    main = [sys.executable, "-c", "from spladert.cli import main; main()"]
    command = [*main, "encode", "--input", "docs.jsonl", "--output", store, "--threads", "1", "--no-spin"]
    limited = ["bash", "-c", 'ulimit -f 64 && exec "$@"', "bash", *command]  # no file of more than 64 KiB
    done = subprocess.run(limited, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == f"error: {store} cannot be used: disk I/O error\n"


@pytest.mark.parametrize("store", ["milvus"], indirect=True)
def test_a_file_that_another_process_has_open_is_named(store: str, tmp_path: Path) -> None:
    encode(write(tmp_path / "docs.jsonl", *DOCUMENTS[:1]), store)
    command = [sys.executable, "-c", "from spladert.cli import main; main()", "search", store, "당뇨병"]
    with open_searcher(store, Connection()):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    reason = "it may be open in another process, or not yours to read and write"
    assert done.stderr == f"error: {store} cannot be opened: {reason}\n"


def test_empty_and_long_and_strange_texts(encoder: SparseEncoder, store: str, tmp_path: Path) -> None:
    texts = ["", "가" * 10_000, "😀", "당뇨병 " * 3_000]
    documents = [{"_id": str(n), "text": text, "number": n} for n, text in enumerate(texts)]
    refuses = store.startswith("milvus")  # a vector without entries, of an emoji say
    encode(write(tmp_path / "docs.jsonl", *documents), store, status=3 if refuses else 0)
    assert ask(store, "당뇨병")[0]["text"] == texts[3]


@pytest.mark.parametrize("store", ["qdrant", "milvus"], indirect=True)
def test_a_vector_without_entries(store: str, tmp_path: Path) -> None:
    refuses = store.startswith("milvus")
    path = write(tmp_path / "docs.jsonl", DOCUMENTS[0], DOCUMENTS[1])
    done = encode(path, store, "--prune", "abs_value:50", status=3 if refuses else 0)
    if refuses:
        assert "2 documents were refused" in done.stderr
    else:
        assert "refused" not in done.stderr
    assert ask(store, "당뇨병") == []


@pytest.mark.parametrize("store", ["qdrant"], indirect=True)
def test_bm25_alone_answers_where_the_vector_is_empty(store: str, tmp_path: Path) -> None:
    encode(write(tmp_path / "docs.jsonl", {"_id": "a", "text": "[CLS] 당뇨병"}, *DOCUMENTS), store)
    assert "no token that the model knows" in run("search", store, "[CLS]").stderr
    assert [hit["id"] for hit in ask(store, "[CLS]", "--hybrid")] == ["a"]
