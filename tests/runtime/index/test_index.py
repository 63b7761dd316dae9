"""Documents in a folder: what is found, what lasts, and what is refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spladert import InputError, SparseEncoder
from spladert.evaluation.retrieval import search as exact_search
from spladert.index import SparseIndex
from spladert.origin import origin_of
from spladert.passages import Passages
from spladert.qdrant.edge import open_points
from support.store_command import LONG, WORDS

DOCUMENTS = [
    {"_id": f"d{n}", "text": " ".join([WORDS[n % 13], WORDS[n * 7 % 11], WORDS[n * 3 % 5], str(n)]), "number": n}
    for n in range(200)
]


NUMBERS = [
    {"size": 2, "many": 1000000, "large": 9007199254740992},
    {"size": 2.0, "many": 1e6, "large": 9007199254740993},
]


def ids(index: SparseIndex, question: str, **options: Any) -> list[str]:
    return [hit.id for hit in index.search(question, **options).hits]


def _endless() -> list[Any]:
    inside: list[Any] = []
    inside.append(inside)
    return inside


def test_the_ranking_is_exact(encoder: SparseEncoder, folder: Path) -> None:
    questions = ["당뇨병 치료", "국가의 손해배상", "전세 계약서 약관", "오늘 날씨"]
    with SparseIndex.open(folder, encoder) as index:
        assert index.add(DOCUMENTS) == len(index) == 200
        index.optimize()
        vectors = encoder.encode_document([document["text"] for document in DOCUMENTS])
        asked = encoder.encode_query(questions)
        for question, vector, best in zip(questions, asked, exact_search(asked, vectors), strict=True):
            hits = index.search(question).hits
            scores = np.array([vectors[i].to_dict() for i in best.tolist()], object)
            dots = [sum(weight * row.get(i, 0.0) for i, weight in vector.to_dict().items()) for row in scores]
            np.testing.assert_allclose([hit.score for hit in hits], dots, rtol=1e-5)
            for hit in hits:
                document = vectors[int(hit.id[1:])].to_dict()
                assert hit.score == pytest.approx(sum(match.product for match in hit.matches), rel=1e-5)
                for match in hit.matches:
                    token = encoder.tokens.tolist().index(match.token)
                    assert match.document == pytest.approx(document[token])
                assert (hit.text, hit.fields) == (
                    DOCUMENTS[int(hit.id[1:])]["text"],
                    {"number": int(hit.id[1:])},
                )


def test_documents_are_replaced_and_deleted_by_id_and_stay_so(encoder: SparseEncoder, folder: Path) -> None:
    with SparseIndex.open(folder, encoder) as index:
        assert (len(index), index.search("당뇨병").hits) == (0, ())
        index.add(["당뇨병 치료", {"id": 7, "text": "손해배상 소송"}, {"docid": "w", "text": "오늘 날씨"}])
        index.add([{"id": "7", "text": "비빔밥 재료"}, "당뇨병 치료"])
        assert len(index) == 3
    with SparseIndex.open(folder, encoder) as index:
        assert "7" not in ids(index, "손해배상")
        assert ids(index, "비빔밥") == ["7"]
        index.delete([7, "w", "gone"])
        assert len(index) == 1
    with SparseIndex.open(folder) as index:  # the model is the one that it was made with
        assert [hit.text for hit in index.search("당뇨병").hits] == ["당뇨병 치료"]


def test_a_document_in_passages_is_found_by_its_best_one(encoder: SparseEncoder, folder: Path) -> None:
    with SparseIndex.open(folder, encoder) as index:
        assert index.add([{"id": "long", "text": LONG, "year": 2020}, "손해배상 소송"], passages=Passages()) == 2
        passages = len(index) - 1
        (hit,) = index.search("당뇨병 식이요법").hits
        assert hit.passage == {
            "document": "long",
            "number": passages - 1,
            "begin": LONG.index(hit.text),
            "end": len(LONG),
        }
        assert hit.text.endswith("식이요법이 중요하다.")
        assert (hit.id, hit.fields) == (f"long#{passages - 1}", {"year": 2020})
        assert len(ids(index, "오늘 날씨")) == 1
        index.add([{"id": "long", "text": "서울의 오늘 날씨. 비빔밥."}], passages=Passages())
        assert len(index) == 2
        index.add([{"id": "long", "text": LONG}])
        assert len(index) == 2
        assert ids(index, "오늘 날씨") == ["long"]
        index.add([{"id": "long", "text": LONG}], passages=Passages(most=2))
        assert len(index) == 3
        index.delete(["long"])
        assert len(index) == 1


def test_a_document_that_is_called_like_a_passage_stays(encoder: SparseEncoder, folder: Path) -> None:
    with SparseIndex.open(folder, encoder) as index:
        index.add([{"id": "a#1", "text": "손해배상 소송"}])
        index.add([{"id": "a", "text": LONG}], passages=Passages())
        assert ids(index, "손해배상") == ["a#1"]
        index.delete(["a"])
        assert (len(index), ids(index, "손해배상")) == (1, ["a#1"])


def test_a_refused_document_leaves_its_earlier_version(encoder: SparseEncoder, folder: Path) -> None:
    with SparseIndex.open(folder, encoder) as index:
        index.add([{"id": "a", "text": LONG}], passages=Passages())
        before = len(index)
        with pytest.raises(InputError, match="Out of range float"):
            index.add([{"id": "a", "text": LONG, "other": float("nan")}])
        assert len(index) == before


def test_enough_documents_are_found_among_many_passages(encoder: SparseEncoder, folder: Path) -> None:
    with SparseIndex.open(folder, encoder) as index:
        index.add([{"id": f"long{n}", "text": LONG} for n in range(6)], passages=Passages())
        assert len({hit.passage["document"] for hit in index.search("오늘 날씨", top=5).hits if hit.passage}) == 5


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({"year": "2020"}, {"a"}),
        ({"year": "2020", "kind": "x"}, {"a"}),
        ({"year": "2020", "kind": "y"}, set()),
        ({"kind": "x"}, {"a", "b"}),
        ({"ok": "true"}, {"a"}),
        ({"ok": "false"}, {"b"}),
        ({"price": "1.5"}, {"b"}),
        ({"code": "007"}, {"c"}),
        ({"year": "2020.0"}, {"a"}),
        ({"size": "2"}, {"a", "b"}),
        ({"size": "2.0"}, {"a", "b"}),
        ({"many": "1e6"}, {"a", "b"}),
        ({"many": "1000000"}, {"a", "b"}),
        ({"large": "9007199254740993"}, {"b"}),
        ({"ok": "1"}, {"c"}),
        ({"제목": "가"}, {"c"}),
        ({"a.b": "1"}, {"a", "b"}),
        ({"gone": "1"}, set()),
    ],
)
def test_filters(encoder: SparseEncoder, tmp_path: Path, filters: Mapping[str, str], found: set[str]) -> None:
    documents = [
        {"id": "a", "text": "당뇨병", "year": 2020, "kind": "x", "ok": True, "a": {"b": 1}, **NUMBERS[0]},
        {"id": "b", "text": "당뇨병", "year": "2021", "kind": "x", "ok": False, "price": 1.5, "a.b": "1", **NUMBERS[1]},
        {"id": "c", "text": "당뇨병", "code": "007", "제목": "가", "ok": 1},
    ]
    with SparseIndex.open(tmp_path / "index", encoder) as index:
        index.add(documents)
        assert set(ids(index, "당뇨병", filters=filters)) == found
        assert set(ids(index, "당뇨병", filters=filters, hybrid=True)) == found


def test_hybrid_finds_words_that_the_model_has_no_opinion_on(encoder: SparseEncoder, folder: Path) -> None:
    with SparseIndex.open(folder, encoder) as index:
        index.add([{"id": "law", "text": "손해배상 청구 소송에서 위자료를 산정하는 기준"}, *DOCUMENTS])
        hit = index.search("위자료 산정", hybrid=True).hits[0]
        assert hit.id == "law"
        assert hit.score == pytest.approx(2 / 60)  # first in both rankings


def test_bm25_alone_answers_where_the_vector_is_empty(encoder: SparseEncoder, folder: Path) -> None:
    with SparseIndex.open(folder, encoder) as index:
        index.add([{"id": "a", "text": "[CLS] 당뇨병", "year": 2020}, *DOCUMENTS])
        with pytest.raises(InputError, match="no token that the model knows"):
            index.search("[CLS]")
        (hit,) = index.search("[CLS]", hybrid=True).hits
        assert (hit.id, hit.matches) == ("a", ())
        assert ids(index, "[CLS]", hybrid=True, filters={"year": "2021"}) == []
        with pytest.raises(InputError, match="no token that the model knows"):
            index.search("😀", hybrid=True)  # nothing of it is left for BM25 either


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"question": None}, "the question is NoneType"),
        ({"question": 5}, "the question is int"),
        ({"top": 0}, "top is 0"),
        ({"top": -1}, "top is -1"),
        ({"top": 10**30}, "1 to 10,000"),
        ({"top": "3"}, "top is '3'"),
        ({"filters": ["year=2020"]}, r"filters are \['year=2020'\]; give fields and values"),
        ({"filters": "year=2020"}, "filters are 'year=2020'"),
        ({"filters": {"year": 2020}}, r"both text: \{'year': '2020'\}"),
        ({"filters": {"year": "\ud800"}}, "filters are"),
        ({"filters": {"\ud800": "2020"}}, "filters are"),
    ],
)
@pytest.mark.parametrize("filled", [False, True])
def test_what_cannot_be_asked_is_named(
    encoder: SparseEncoder, folder: Path, options: dict[str, Any], message: str, filled: bool
) -> None:
    with SparseIndex.open(folder, encoder) as index:
        if filled:
            index.add(DOCUMENTS[:1])
        with pytest.raises(InputError, match=message):
            index.search(**{"question": "당뇨병", **options})


def test_what_cannot_be_taken_is_named(encoder: SparseEncoder, folder: Path) -> None:
    refused: list[tuple[Any, str]] = [
        (5, "int instead of a str"),
        ({"text": 5}, "holds a number"),
        ({"title": "a"}, "no field 'text'"),
        ("\ud800", "lone surrogate"),
        ({"text": "a", "other": {"b": "\ud800"}}, r"field 'other' has a lone surrogate \(U\+D800\)$"),
        ({"text": "a", "other": float("nan")}, "cannot be JSON: field 'other': Out of range float"),
        ({"text": "a", "id": 1, "other": {1, 2}}, "field 'other': a value of type set"),
        ({"text": "a", "other": _endless()}, "field 'other': Circular reference"),
        ({"text": "a", "id": "1", "_id": {}}, "'_id' holds a object"),
        ({"text": "a", "_passage": {"document": "x"}}, "a field '_passage', which is kept for passages"),
    ]
    with SparseIndex.open(folder, encoder) as index:
        for document, message in refused:
            with pytest.raises(InputError, match=f"document 1: .*{message}"):
                index.add(["좋다", document])
        index.add(["", "가" * 10_000, "😀", "a\0b"])
        with pytest.raises(InputError, match="the question is empty"):
            index.search(" ")
        with pytest.raises(InputError, match="filter's field"):
            index.search("가", filters={'"': "1"})
        with pytest.raises(InputError, match="overlap"):
            index.add(["a"], passages=Passages(overlap=62))


def test_ids_of_two_kinds_do_not_become_one(encoder: SparseEncoder, folder: Path) -> None:
    with SparseIndex.open(folder, encoder) as index:
        for passages in (None, Passages()):
            with pytest.raises(InputError, match=r"document 2: .* there are both kinds"):
                index.add([{"id": 1, "text": "가"}, "나", {"id": "1", "text": "다"}], passages=passages)
            with pytest.raises(InputError, match=r"document 1: .* there are both kinds"):
                index.add([{"id": "2", "text": "가"}, {"id": 2, "text": "다"}], passages=passages)
        assert len(index) == 0


def test_a_single_thing_is_no_list_of_documents_or_ids(encoder: SparseEncoder, folder: Path) -> None:
    with SparseIndex.open(folder, encoder) as index:
        index.add([{"id": "a", "text": "당뇨병 치료"}])
        for single in ("ab", {"text": "ab"}, 5):
            with pytest.raises(InputError, match=f"not a single {type(single).__name__}"):
                index.add(single)  # type: ignore[arg-type]
        for single in ("a", 5):
            with pytest.raises(InputError, match=f"not a single {type(single).__name__}"):
                index.delete(single)  # type: ignore[arg-type]
        assert len(index) == 1


def test_another_model_is_refused_by_name(encoder: SparseEncoder, folder: Path, tiny_bundle: Path) -> None:
    with SparseIndex.open(folder, encoder) as index:
        index.add(["당뇨병"])
    with SparseEncoder.load(tiny_bundle, threads=1, spin=False) as other:
        with pytest.raises(InputError, match=r"different weights and tokenizer \(model 'korean-splade-small'; now "):
            SparseIndex.open(folder, other)
        with SparseIndex.open(folder.with_name("other"), other) as index:
            index.add(["당뇨병"])
    with SparseIndex.open(folder.with_name("other")) as index:
        assert index.encoder.bundle.path == tiny_bundle


def test_only_one_has_it_open(encoder: SparseEncoder, folder: Path) -> None:
    with SparseIndex.open(folder, encoder) as index:
        index.add(["당뇨병"])
        code = f"from spladert.index import SparseIndex; SparseIndex.open({str(folder)!r})"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert f"InputError: the index {folder} is open elsewhere" in done.stderr
    SparseIndex.open(folder, encoder).close()


@pytest.mark.parametrize("own", [False, True])
def test_a_closed_index_stays_closed(encoder: SparseEncoder, folder: Path, own: bool) -> None:
    index = SparseIndex.open(folder, encoder if own else None)
    index.add([{"id": "a", "text": "당뇨병"}])
    index.close()
    index.close()
    calls: list[Callable[[], object]] = [
        lambda: index.add(["당뇨병"]),
        lambda: index.delete(["a"]),
        lambda: index.search("당뇨병"),
        index.optimize,
        lambda: len(index),
        index.__enter__,
    ]
    for call in calls:
        with pytest.raises(InputError, match=f"the index {folder} is closed"):
            call()
    with SparseIndex.open(folder, encoder) as again:
        assert len(again) == 1


def test_what_is_no_folder_or_encoder_is_named(encoder: SparseEncoder, folder: Path) -> None:
    with pytest.raises(InputError, match="the folder is int; give a str or a Path"):
        SparseIndex.open(5, encoder)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="the encoder is str; give a SparseEncoder"):
        SparseIndex.open(folder, encoder="x")  # type: ignore[arg-type]
    assert not folder.exists()


def test_a_folder_of_something_else_is_left_alone(encoder: SparseEncoder, folder: Path) -> None:
    folder.mkdir()
    (folder / "letter.txt").write_text("dear")
    with pytest.raises(InputError, match=r"is no index of spladert, and has 'letter.txt' in it"):
        SparseIndex.open(folder, encoder)
    with pytest.raises(InputError, match="is a file"):
        SparseIndex.open(folder / "letter.txt", encoder)
    assert [path.name for path in folder.iterdir()] == ["letter.txt"]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"schema": 1}', '{"schema": 1, "origin": {}}', "[" * 50_000])
def test_a_damaged_description_is_named(encoder: SparseEncoder, folder: Path, content: str) -> None:
    with SparseIndex.open(folder, encoder) as index:
        index.add(["당뇨병"])
    (folder / "spladert.json").write_text(content)
    with pytest.raises(InputError, match=r"spladert.json (cannot be read|is not what)"):
        SparseIndex.open(folder, encoder)


def test_an_index_of_a_newer_version_is_named(encoder: SparseEncoder, folder: Path) -> None:
    with SparseIndex.open(folder, encoder) as index:
        index.add(["당뇨병"])
    description = json.loads((folder / "spladert.json").read_text())
    (folder / "spladert.json").write_text(json.dumps({**description, "schema": 2}))
    with pytest.raises(InputError, match="schema 2"):
        SparseIndex.open(folder, encoder)


def test_what_was_added_survives_a_kill(encoder: SparseEncoder, folder: Path) -> None:
    code = f"""
from spladert.index import SparseIndex
with SparseIndex.open({str(folder)!r}) as index:
    for n in range(10**6):
        index.add([{{"id": str(n), "text": f"당뇨병 {{n}}"}}])
        print(n, flush=True)
"""
    for _ in range(2):
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        added = [process.stdout.readline() for _ in range(30)]
        time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        added += process.stdout.readlines()
        process.wait()
        with SparseIndex.open(folder, encoder) as index:
            assert {line.strip() for line in added if line.endswith("\n")} <= set(ids(index, "당뇨병", top=10_000))


def test_a_kill_while_it_is_made_leaves_nothing_in_the_way(encoder: SparseEncoder, folder: Path) -> None:
    with open_points(folder) as points:
        points.make(origin_of(encoder.bundle, encoder.variant.name))
    (folder / "spladert.json").unlink()  # written last
    (folder / "shard.new").mkdir()
    with SparseIndex.open(folder, encoder) as index:
        assert len(index) == 0
        index.add(["당뇨병", "계약서"])
        assert len(index) == 2


def test_documents_without_their_description_are_left_alone(encoder: SparseEncoder, folder: Path) -> None:
    with SparseIndex.open(folder, encoder) as index:
        index.add(["당뇨병"])
    description = folder / "spladert.json"
    kept = description.rename(folder.with_name("kept"))
    with pytest.raises(InputError, match="has an index without its description"):
        SparseIndex.open(folder, encoder)
    kept.rename(description)
    with SparseIndex.open(folder, encoder) as index:
        assert len(index) == 1
