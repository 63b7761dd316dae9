"""`spladert encode` into an index and `spladert search` out of it, as commands, on a real node."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from spladert import SparseEncoder
from spladert.cli import main
from spladert.cli.search import snippet
from spladert.opensearch.weights import as_kept
from spladert.stores import Hit, Match
from support.opensearch_load import write_documents

DOCUMENTS = [
    {"_id": "diabetes", "text": "당뇨병 치료에는 식이요법과 운동이 중요하다", "year": 2020},
    {"_id": "law", "text": "손해배상 청구 소송에서 위자료 산정 기준", "year": 2021},
    {"_id": "weather", "text": "서울의 오늘 날씨는 맑고 기온은 영상 이십 도", "year": 2022},
    {"_id": "insulin", "text": "인슐린은 혈당을 낮추는 호르몬이다", "year": 2023},
]
QUICK = ["--threads", "1", "--no-spin"]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def load(url: str, folder: Path, *arguments: str) -> Result:
    path = write_documents(folder / "docs.jsonl", DOCUMENTS)
    done = run("encode", "--input", str(path), "--output", url, "--state", str(folder / "state"), *QUICK, *arguments)
    assert done.exit_code == 0, done.output
    return done


def test_documents_that_are_refused_end_the_command_by_status_3(address: str, index: str, tmp_path: Path) -> None:
    path = write_documents(tmp_path / "docs.jsonl", [*DOCUMENTS, {"_id": "bad", "text": "법", "year": "last"}])
    command = ["encode", "--input", str(path), "--output", f"opensearch://{address}/{index}", *QUICK]
    command += ["--state", str(tmp_path / "state"), "--json", str(tmp_path / "report.json")]
    for options, status in (((), 3), (("--skip-errors",), 0)):
        done = run(*command, *options)
        assert done.exit_code == status, done.output
        assert "5 texts" in done.stderr
        assert f"1 document was refused by the store, see {tmp_path / 'state'}" in done.stderr
        assert json.loads((tmp_path / "report.json").read_text())["refused"] == 1


@pytest.mark.parametrize("kind", ["rank_features", "sparse_vector"])
def test_a_question_finds_its_document_and_says_why(
    address: str, index: str, encoder: SparseEncoder, tmp_path: Path, kind: str
) -> None:
    url = f"opensearch://{address}/{index}"
    load(f"{url}?kind={kind}", tmp_path)
    done = run("search", url, "당뇨병 치료", "--json", "-", *QUICK)
    assert done.exit_code == 0, done.output
    hit = json.loads(done.stdout)["hits"][0]
    assert (hit["id"], hit["text"]) == ("diabetes", DOCUMENTS[0]["text"])
    query = dict(encoder.decode(encoder.encode_query("당뇨병 치료")))
    stored = encoder.encode_document(hit["text"])
    document = dict(zip(encoder.tokens[stored.indices], as_kept(stored.values).tolist(), strict=True))
    common = {token: query[token] * document[token] for token in query if token in document}
    assert {match["token"] for match in hit["tokens"]} == set(common)
    for match in hit["tokens"]:
        assert match["product"] == pytest.approx(common[match["token"]], rel=2e-3)
    products = [match["product"] for match in hit["tokens"]]
    assert products == sorted(products, reverse=True)
    assert hit["score"] == pytest.approx(sum(products), rel=2e-3 if kind == "rank_features" else 0.05)


def test_the_table_has_score_id_tokens_and_text(address: str, index: str, tmp_path: Path) -> None:
    url = f"opensearch://{address}/{index}"
    load(url, tmp_path)
    done = run("search", url, "혈당", "--top", "1", *QUICK)
    assert done.exit_code == 0
    assert "insulin" in done.stdout
    assert "혈당" in done.stdout
    assert "law" not in done.stdout


def test_hybrid_finds_words_that_the_model_has_no_opinion_on(address: str, index: str, tmp_path: Path) -> None:
    url = f"opensearch://{address}/{index}"
    load(url, tmp_path)
    done = run("search", url, "위자료 산정", "--hybrid", "--json", "-", *QUICK)
    assert json.loads(done.stdout)["hits"][0]["id"] == "law"


def test_bm25_alone_answers_where_the_model_knows_no_token(address: str, index: str, tmp_path: Path) -> None:
    url = f"opensearch://{address}/{index}?field=sparse"
    path = tmp_path / "docs.jsonl"
    write_documents(path, [{"_id": "a", "text": "ⵣⴰ 당뇨병", "year": 2020}, {"_id": "b", "text": "치료"}])
    assert run("encode", "--input", str(path), "--output", url, "--state", str(tmp_path / "s"), *QUICK).exit_code == 0
    assert "no token that the index knows" in run("search", url, "ⵣⴰ", *QUICK).stderr
    for options, found in (((), ["a"]), (("--filter", "year=2020"), ["a"]), (("--filter", "year=2021"), [])):
        done = run("search", url, "ⵣⴰ", "--hybrid", "--json", "-", *options, *QUICK)
        assert done.exit_code == 0, done.output
        assert [hit["id"] for hit in json.loads(done.stdout)["hits"]] == found


@pytest.mark.parametrize("hybrid", [(), ("--hybrid",)])
def test_filters(address: str, index: str, tmp_path: Path, hybrid: tuple[str, ...]) -> None:
    url = f"opensearch://{address}/{index}"
    path = tmp_path / "filters.jsonl"
    documents = [
        {"_id": "a", "text": "당뇨병", "year": 2020, "kind": "한 가지", "ok": True, "deep": {"b": 1}},
        {"_id": "b", "text": "당뇨병", "year": 2021, "kind": "한", "ok": False, "deep": {"b": 2}},
    ]
    write_documents(path, documents)
    assert run("encode", "--input", str(path), "--output", url, "--state", str(tmp_path / "s"), *QUICK).exit_code == 0
    for given, found in [
        (["year=2020"], ["a"]),
        (["kind=한"], ["b"]),
        (["ok=false"], ["b"]),
        (["deep.b=1", "ok=true"], ["a"]),
        (["year=x"], []),
        (["gone=1"], []),
    ]:
        options = [part for each in given for part in ("--filter", each)]
        done = run("search", url, "당뇨병", "--json", "-", *options, *hybrid, *QUICK)
        assert done.exit_code == 0, done.output
        assert [hit["id"] for hit in json.loads(done.stdout)["hits"]] == found, given
    refused = run("search", url, "당뇨병", "--filter", "text=당뇨병", *QUICK)
    assert "is text without a keyword beside it" in refused.stderr


def test_passages_are_grouped(address: str, index: str, tmp_path: Path) -> None:
    url, path = f"opensearch://{address}/{index}", tmp_path / "long.jsonl"
    text = "서울의 오늘 날씨는 맑다. 기온은 영상 이십 도까지 오른다. " * 12 + "당뇨병 치료에는 식이요법이 중요하다."
    write_documents(path, [{"_id": "long", "text": text, "year": 2020}])
    options = ("--passages", "--state", str(tmp_path / "s"))
    assert run("encode", "--input", str(path), "--output", url, *options, *QUICK).exit_code == 0
    (hit,) = json.loads(run("search", url, "오늘 날씨", "--json", "-", *QUICK).stdout)["hits"]
    assert hit["passage"]["document"] == "long"
    assert hit["text"] == text[hit["passage"]["begin"] : hit["passage"]["end"]]
    assert hit["fields"] == {"year": 2020}


def test_unclear_questions_get_a_clear_answer(address: str, index: str, client: Any, tmp_path: Path) -> None:
    url = f"opensearch://{address}/{index}"
    missing = run("search", url, "당뇨병", *QUICK)
    assert missing.exit_code == 1
    assert f"there is no index {url}" in missing.output
    load(url, tmp_path)
    assert "the question is empty" in run("search", url, "  ", *QUICK).output
    assert "has no field 'other'" in run("search", f"{url}?field=other", "당뇨병", *QUICK).output
    assert "option 'colour'" in run("search", f"{url}?colour=red", "당뇨병", *QUICK).output
    assert "there is no index somewhere" in run("search", "somewhere", "당뇨병", *QUICK).output
    client.delete_by_query(index=index, body={"query": {"match_all": {}}}, refresh=True)
    nothing = run("search", url, "당뇨병", *QUICK)
    assert nothing.exit_code == 0
    assert "nothing found" in nothing.output


def test_another_model_may_not_ask(address: str, index: str, tiny_bundle: Path, tmp_path: Path) -> None:
    url = f"opensearch://{address}/{index}"
    load(url, tmp_path)
    done = run("search", url, "당뇨병", "--model", str(tiny_bundle), *QUICK)
    assert done.exit_code == 1
    assert "different weights and tokenizer" in done.output


def test_pruned_documents_are_lighter(address: str, index: str, client: Any, tmp_path: Path) -> None:
    url = f"opensearch://{address}/{index}"
    load(url, tmp_path, "--prune", "top_k:5")
    for hit in client.search(index=index, body={})["hits"]["hits"]:
        assert len(hit["_source"]["sparse"]) == 5


def test_a_password_in_the_url_is_refused_and_not_repeated(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        done = run("search", "opensearch://me:hidden@localhost/docs", "당뇨병")
    assert done.exit_code == 1
    assert "OPENSEARCH_PASSWORD" in done.output
    assert "hidden" not in done.output + caplog.text


def test_options_of_files_and_stores_do_not_mix(tmp_path: Path) -> None:
    assert run("encode", "가", "--output", "opensearch://h/a", "--tokens").exit_code == 2
    assert run("encode", "가", "--output", str(tmp_path / "a.jsonl"), "--alias", "b").exit_code == 2


def test_a_snippet_is_around_what_matched() -> None:
    text = "머리말 " * 100 + "당뇨병 치료 " + "꼬리말 " * 100
    found = snippet(Hit("a", 1.0, text, (Match("없음", 1, 1), Match("##당뇨병", 1, 0.5))), 60)
    assert "당뇨병" in found
    assert found[0] == found[-1] == "…"
    assert snippet(Hit("a", 1.0, "짧다", ())) == "짧다"
    assert np.isclose(Match("a", 2.0, 1.5).product, 3.0)
