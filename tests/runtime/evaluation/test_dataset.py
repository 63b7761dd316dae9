from __future__ import annotations

from pathlib import Path

import pytest

from spladert import InputError
from spladert.evaluation import read_dataset


def test_a_set_is_read_with_titles_and_without_queries_that_have_no_answer(dataset: Path) -> None:
    data = read_dataset(dataset)
    assert data.documents == ("당뇨병 치료 방법", "계약서")
    assert data.query_ids == ("q1",)
    assert data.qrels == (("q1", "d2", 1),)


def test_qrels_may_be_in_a_folder_and_without_header(dataset: Path) -> None:
    (dataset / "qrels").mkdir()
    (dataset / "qrels.tsv").unlink()
    (dataset / "qrels" / "test.tsv").write_text("q1\td2\t1\n")
    assert read_dataset(dataset).qrels == (("q1", "d2", 1),)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("corpus.jsonl", None, r"corpus\.jsonl cannot be read: No such file"),
        ("qrels.tsv", None, r"neither qrels\.tsv nor qrels/test\.tsv"),
        ("corpus.jsonl", "", r"corpus\.jsonl is empty"),
        ("corpus.jsonl", '{"_id": "d1"}\n', r"corpus\.jsonl, line 1: needs '_id' and 'text'"),
        ("corpus.jsonl", '{"_id": "d", "text": ""}\n' * 2, r"line 2: the id 'd' is there twice"),
        ("queries.jsonl", "{\n", r"queries\.jsonl, line 1: not valid JSON"),
        ("corpus.jsonl", "\ufeffa\0", r"corpus\.jsonl, line 1: not valid JSON"),
        ("corpus.jsonl", "[" * 100_000, r"corpus\.jsonl, line 1: not valid JSON: nested too deeply"),
        ("qrels.tsv", "q1 d2 1\n", r"qrels\.tsv, line 1: needs three columns"),
        ("qrels.tsv", "q1\td2\t--5\n", r"qrels\.tsv, line 1: needs three columns"),
        ("qrels.tsv", f"q1\td2\t{'9' * 5000}\n", r"qrels\.tsv, line 1: needs three columns"),
        ("qrels.tsv", "q9\td2\t1\n", r"judges query 'q9', which is not"),
        ("qrels.tsv", "q1\td9\t1\n", r"judges document 'd9', which is not"),
        ("qrels.tsv", "q1\td2\t0\n", r"no relevant document for any query"),
    ],
)
def test_a_malformed_set_is_refused(dataset: Path, name: str, content: str | None, message: str) -> None:
    (dataset / name).unlink()
    if content is not None:
        (dataset / name).write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_dataset(dataset)


def test_a_set_of_another_encoding_is_named(dataset: Path) -> None:
    (dataset / "queries.jsonl").write_text('{"_id": "q1", "text": "당뇨병"}\n', encoding="utf-16")
    with pytest.raises(InputError, match=r"queries\.jsonl is UTF-16, not UTF-8"):
        read_dataset(dataset)
