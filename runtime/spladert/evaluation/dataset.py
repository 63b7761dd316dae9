"""Reading a retrieval set in the BEIR layout: `corpus.jsonl`, `queries.jsonl` and `qrels.tsv` or `qrels/test.tsv`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..files.lines import read_lines as lines_of
from ..files.readers import MAX_LINE_BYTES
from ..files.records import UnreadableError
from ..files.source import open_input
from ..json_text import parse_json

QRELS = ("qrels.tsv", "qrels/test.tsv")


@dataclass(frozen=True)
class RetrievalData:
    """A retrieval set; only the queries that have a relevant document are kept.

    Attributes:
        document_ids: ids in the corpus's order.
        documents: `title text` of each document, or its text alone where there is no title.
        query_ids: ids in the file's order.
        queries: text of each query.
        qrels: (query id, document id, relevance) of each judgement, relevance above 0 meaning relevant.
    """

    document_ids: tuple[str, ...]
    documents: tuple[str, ...]
    query_ids: tuple[str, ...]
    queries: tuple[str, ...]
    qrels: tuple[tuple[str, str, int], ...]


def read_dataset(folder: str | Path) -> RetrievalData:
    """Read a retrieval set.

    Raises:
        InputError: a file is missing or a line of it is malformed (the message names both), an id is there twice, or a
            judgement names a query or a document that does not exist.
    """
    folder = Path(folder)
    qrels_path = next((folder / name for name in QRELS if (folder / name).is_file()), None)
    if qrels_path is None:
        raise InputError(f"{folder} has neither {' nor '.join(QRELS)}; give a folder in the BEIR layout")
    documents = _texts(folder / "corpus.jsonl")
    queries = _texts(folder / "queries.jsonl")
    qrels = tuple(_qrels(qrels_path))
    for query_id, document_id, _ in qrels:
        if query_id not in queries:
            raise InputError(f"{qrels_path} judges query {query_id!r}, which is not in queries.jsonl")
        if document_id not in documents:
            raise InputError(f"{qrels_path} judges document {document_id!r}, which is not in corpus.jsonl")
    answerable = {query_id for query_id, _, relevance in qrels if relevance > 0}
    if not answerable:
        raise InputError(f"{qrels_path} has no relevant document for any query")
    query_ids = tuple(query_id for query_id in queries if query_id in answerable)
    return RetrievalData(
        document_ids=tuple(documents),
        documents=tuple(documents.values()),
        query_ids=query_ids,
        queries=tuple(queries[query_id] for query_id in query_ids),
        qrels=tuple(judgement for judgement in qrels if judgement[0] in answerable),
    )


def read_lines(path: Path) -> Iterator[tuple[str, str]]:
    """(where, line) of each line that is not blank; `where` names the file and the line for an error message.

    Raises:
        InputError: the file cannot be read or is not UTF-8.
    """
    with open_input(str(path)) as source:
        for line in lines_of(source.stream, MAX_LINE_BYTES, name=str(path)):
            where = f"{path}, line {line.number}"
            try:
                text = line.text()
            except UnreadableError as error:
                raise InputError(f"{where}: {error}") from None
            if text.strip():
                yield where, text


def read_objects(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(where, object) of each line of a JSONL file.

    Raises:
        InputError: the file cannot be read, or a line is not a JSON object.
    """
    for where, line in read_lines(path):
        try:
            value = parse_json(line)
        except ValueError as error:
            raise InputError(f"{where}: not valid JSON: {error}") from None
        if not isinstance(value, dict):
            raise InputError(f"{where}: {type(value).__name__} instead of an object")
        yield where, value


def _texts(path: Path) -> dict[str, str]:
    """Text by id, in the file's order."""
    texts: dict[str, str] = {}
    for where, value in read_objects(path):
        title, text = value.get("title") or "", value.get("text")
        if not isinstance(value.get("_id"), str) or not isinstance(text, str) or not isinstance(title, str):
            raise InputError(f"{where}: needs '_id' and 'text', both strings, and 'title' a string if there")
        if value["_id"] in texts:
            raise InputError(f"{where}: the id {value['_id']!r} is there twice")
        texts[value["_id"]] = f"{title} {text}".strip()
    if not texts:
        raise InputError(f"{path} is empty")
    return texts


def _qrels(path: Path) -> Iterator[tuple[str, str, int]]:
    for position, (where, line) in enumerate(read_lines(path)):
        columns = line.split("\t")
        if position == 0 and columns[-1] == "score":
            continue
        try:
            query_id, document_id, score = columns
            relevance = int(score)
        except ValueError:
            raise InputError(
                f"{where}: needs three columns with tabs between, query-id, corpus-id and an integer score"
            ) from None
        yield query_id, document_id, relevance
