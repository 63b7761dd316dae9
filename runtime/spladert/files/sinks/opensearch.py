"""Vectors and their documents into an index of OpenSearch, each document once, whatever is interrupted.

Where a job is, is kept in a folder of its own. What was sent after the last commit is sent again: a document's `_id`
is the input's, or else a hash of its content, so that it takes the same place.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...encoder import SparseEncoder
from ...errors import InputError
from ...opensearch.bulk import BulkSender, Document, Refusal, Retries
from ...opensearch.client import connect, explained
from ...opensearch.keys import Keys, Loss, loss_of
from ...opensearch.target import OpenedField, Target, make_index, open_field
from ...opensearch.weights import storable, written
from ...stores import Connection, Load, StoreUrl
from ...vectors import SparseVectors
from ..job import Job, Progress
from ..records import BadRecord, Record
from ..spool import Spool

if TYPE_CHECKING:
    from opensearchpy import OpenSearch

REFUSED, ERRORS = "refused.jsonl", "errors.jsonl"
REASON = "_refused"  # the field of a refused document that says why; it is not sent


@contextmanager
def open_opensearch_sink(
    url: StoreUrl,
    connection: Connection,
    encoder: SparseEncoder,
    load: Load,
    *,
    retries: Retries | None = None,
    waiting: Callable[[str], object] = lambda reason: None,
) -> Iterator[OpenSearchSink]:
    """The sink of a URL, see `spladert.stores.open_sink`.

    Args:
        retries: when something is sent again.
        waiting: called with the reason before each wait.
    """
    target = Target.of(url)
    client = connect(url, connection)
    folder = (load.state or default_state()) / _job_name(url, load.input)
    folder.parent.mkdir(parents=True, exist_ok=True)
    sender = BulkSender(client, url, options=retries, waiting=waiting)
    try:
        with Spool(folder, [REFUSED, ERRORS]) as spool:
            yield OpenSearchSink(client, url, target, encoder, load, spool, sender, refresh=connection.aws != "aoss")
    finally:
        client.close()


def default_state(environment: Mapping[str, str] = os.environ) -> Path:
    """The user's state directory (XDG base directories)."""
    home = environment.get("XDG_STATE_HOME")
    return (Path(home) if home else Path.home() / ".local" / "state") / "spladert"


def _job_name(url: StoreUrl, source: str) -> str:
    return f"{url.name}-{hashlib.sha256(json.dumps([str(url), source]).encode()).hexdigest()[:16]}"


class OpenSearchSink:
    """A sink of one field of one index.

    Attributes:
        report: what there is to say when the job has ended, a sentence each.
    """

    def __init__(
        self,
        client: OpenSearch,
        url: StoreUrl,
        target: Target,
        encoder: SparseEncoder,
        load: Load,
        spool: Spool,
        sender: BulkSender,
        *,
        refresh: bool = True,
    ) -> None:
        self._client, self._url, self._target, self._load = client, url, target, load
        self._bundle, self._variant = encoder.bundle, encoder.variant.name
        self._spool, self._sender, self._refresh = spool, sender, refresh
        self._facts: dict[str, Any] = {}
        self._field: OpenedField | None = None
        self._loss = Loss()
        self.report: tuple[str, ...] = ()

    @property
    def checkpoint(self) -> Path:
        return self._spool.folder

    def resume(self, job: Job) -> Progress:
        """See `Sink`. The index is looked at before anything is encoded.

        Raises:
            InputError: the index is another model's; what an interrupted run left is another job's; or the index or
                alias is there already, where a new one is to be built.
            StoreError: the cluster refuses, or does not answer.
        """
        load = {"alias": self._load.alias, "target": asdict(self._target)}
        self._facts = json.loads(json.dumps({**job.facts(), **load}))
        saved = self._spool.saved()
        with explained(self._url):
            self._field = open_field(self._client, self._url, self._target, self._bundle, variant=self._variant)
            if self._load.alias is not None:
                self._check_alias(self._load.alias, fresh=saved is None)
        if saved is None:
            self._spool.restore({})
            return Progress()
        different = [name for name in self._facts if saved.job.get(name) != self._facts[name]]
        if different or self._field is None:
            what = f"with a different {' and '.join(different)}" if different else f"into {self._url}, which is gone"
            raise InputError(
                f"{self._spool.folder} is left of an interrupted run {what}: "
                "run with the same again to finish it, or delete that folder to start over"
            )
        self._spool.restore(saved.sizes)
        return saved.progress

    def write(self, records: Sequence[Record], vectors: SparseVectors) -> None:
        """See `Sink`.

        Raises:
            StoreError: the cluster refuses as a whole, or has not answered for long.
        """
        if not records:
            return
        if self._field is None:
            with explained(self._url):
                self._field = make_index(
                    self._client, self._url, self._target, self._bundle, vectors, variant=self._variant
                )
        keys, text_field = self._field.keys, self._field.meta.text_field
        self._loss += loss_of(keys, vectors)
        sent: list[Record] = []
        documents: list[Document] = []
        refused: list[bytes] = []
        for record, vector in zip(records, vectors_json(vectors, keys), strict=True):
            fields = _fields(record, text_field)
            try:
                body = _body(fields, self._target.field, vector)
            except InputError as error:
                refused.append(_refused_line(record, fields, str(error)))
                continue
            documents.append(Document(document_id(record, fields), body))
            sent.append(record)
        for refusal in self._sender.send(documents):
            record = sent[refusal.position]
            refused.append(_refused_line(record, _fields(record, text_field), _why(refusal)))
        self._spool.append({REFUSED: b"".join(refused)})

    def reject(self, records: Sequence[BadRecord]) -> None:
        self._spool.append({ERRORS: b"".join(record.to_json() for record in records)})

    def commit(self, progress: Progress) -> None:
        self._spool.save(self._facts, progress)

    def finish(self) -> None:
        """See `Sink`: the documents can be found, and the alias points to them.

        Raises:
            StoreError: the cluster refuses, or does not answer; the same command ends the job.
        """
        report = []
        with explained(self._url):
            if self._field is None and (self._target.kind or "rank_features") == "rank_features":
                self._field = make_index(
                    self._client, self._url, self._target, self._bundle, None, variant=self._variant
                )
            if self._field is not None and self._refresh:
                self._client.indices.refresh(index=self._field.index)
            if self._field is not None and self._load.alias is not None:
                before = self._switch(self._load.alias, self._field.index)
                was = f", which was {', '.join(before)}" if before else ""
                report.append(f"the alias {self._load.alias!r} is {self._field.index} now{was}")
        if self._sender.retries:
            report.append(f"{self._sender.retries:,} requests were sent again")
        if self._loss.entries:
            report.append(
                f"{self._loss.entries:,} entries of tokens without a number were dropped, "
                f"{self._loss.share:.2%} of the weight"
            )
        for name, what in ((REFUSED, "documents were refused by the cluster"), (ERRORS, "bad lines were skipped")):
            count = _lines(self._spool.folder / name)
            if count:
                kept = self._spool.folder.with_name(f"{self._spool.folder.name}.{name}")
                shutil.copyfile(self._spool.folder / name, kept)
                again = ", which can be sent again with --input" if name == REFUSED else ""
                report.append(f"{count:,} {what}, see {kept}{again}")
        self.report = tuple(report)
        self._spool.remove()

    def _check_alias(self, alias: str, *, fresh: bool) -> None:
        if alias == self._url.name:
            raise InputError(f"the index and its alias are both {alias!r}; give the index a name of its own")
        if self._client.indices.exists(index=alias) and not self._client.indices.exists_alias(name=alias):
            raise InputError(f"{alias!r} is an index, so it cannot be an alias; choose another name")
        if fresh and self._field is not None:
            raise InputError(f"{self._url} is there already; for the alias {alias!r} a new index is built: name it so")

    def _switch(self, alias: str, index: str) -> list[str]:
        """Point the alias at the index in one step; returns where it pointed before."""
        before: list[str] = []
        if self._client.indices.exists_alias(name=alias):
            before = sorted(set(self._client.indices.get_alias(name=alias)) - {index})
        removed = [{"remove": {"index": name, "alias": alias}} for name in before]
        self._client.indices.update_aliases(body={"actions": [*removed, {"add": {"index": index, "alias": alias}}]})
        return before


def vectors_json(vectors: SparseVectors, keys: Keys) -> Iterator[str]:
    """Each vector as a JSON object `{key: weight}`, with the digits that the field keeps.

    Raises:
        InputError: a weight is infinite or not a number.
    """
    kept = storable(vectors.values) & keys.known[vectors.indices]
    names = {i: json.dumps(keys.by_id[i], ensure_ascii=False) for i in set(vectors.indices[kept].tolist())}
    ends = kept.cumsum()
    weights = written(vectors.values[kept])
    pairs = [f"{names[i]}:{weight}" for i, weight in zip(vectors.indices[kept].tolist(), weights, strict=True)]
    start = 0
    for row_end in vectors.indptr[1:].tolist():
        end = int(ends[row_end - 1]) if row_end else 0
        yield "{" + ",".join(pairs[start:end]) + "}"
        start = end


def document_id(record: Record, fields: Mapping[str, object]) -> str:
    """A document's `_id`: the input's own, else a hash of all that the document is."""
    if not record.numbered:
        return str(record.id)
    content = json.dumps(fields, sort_keys=True, default=str).encode()
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()[:18]).decode("ascii")


def _fields(record: Record, text_field: str) -> dict[str, object]:
    """The document's fields, with its text under the text's own name if it has another."""
    fields = {name: value for name, value in record.fields.items() if name != REASON}
    fields.setdefault(text_field, record.text)
    return fields


def _body(fields: Mapping[str, object], vector_field: str, vector: str) -> bytes:
    """
    Raises:
        InputError: the document has the vector's field already, or holds what JSON cannot.
    """
    if vector_field in fields:
        raise InputError(f"the document has a field {vector_field!r} already, where its vector is to be")
    try:
        text = json.dumps(fields, ensure_ascii=False, allow_nan=False, default=_plain)
        return f"{text[:-1]},{json.dumps(vector_field)}:{vector}}}".encode()
    except (TypeError, ValueError) as error:  # of encoding too: a lone surrogate in another field
        raise InputError(f"the document cannot be JSON: {error}") from None


def _plain(value: object) -> object:
    if hasattr(value, "isoformat"):
        return value.isoformat()
    raise TypeError(f"a value of type {type(value).__name__}")


def _why(refusal: Refusal) -> str:
    return f"{refusal.status} {refusal.reason}"


def _refused_line(record: Record, fields: Mapping[str, object], reason: str) -> bytes:
    line = {"_id": document_id(record, fields), **fields, REASON: reason}
    return json.dumps(line, default=str).encode("ascii") + b"\n"


def _lines(path: Path) -> int:
    with path.open("rb") as stream:
        return sum(1 for _ in stream)
