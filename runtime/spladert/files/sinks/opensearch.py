"""Vectors and their documents into an index of OpenSearch; `store.py` says how a job of it goes on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

from ...counting import counted, counted_were
from ...encoder import SparseEncoder
from ...errors import InputError
from ...opensearch.bulk import BulkSender, Document, Retries
from ...opensearch.client import connect
from ...opensearch.keys import Keys, Loss, loss_of
from ...opensearch.target import OpenedField, Target, make_index, open_field
from ...opensearch.weights import storable, written
from ...stores import Connection, Load, StoreUrl
from ...vectors import SparseVectors
from .store import Refused, Row, StoreSink, json_of, open_store_sink

if TYPE_CHECKING:
    from opensearchpy import OpenSearch


@contextmanager
def open_opensearch_sink(
    url: StoreUrl,
    connection: Connection,
    encoder: SparseEncoder,
    load: Load,
    *,
    retries: Retries | None = None,
    waiting: Callable[[str], object] = lambda reason: None,
) -> Iterator[StoreSink]:
    """The sink of a URL, see `spladert.stores.open_sink`.

    Args:
        retries: when something is sent again.
        waiting: called with the reason before each wait.
    """
    target = Target.of(url)
    client = connect(url, connection)
    sender = BulkSender(client, url, options=retries, waiting=waiting)
    try:
        index = OpenSearchIndex(client, url, target, encoder, load.alias, sender, refresh=connection.aws != "aoss")
        with open_store_sink(index, str(url), url.name, load) as sink:
            yield sink
    finally:
        client.close()


class OpenSearchIndex:
    """One field of one index, as a `Collection`."""

    def __init__(
        self,
        client: OpenSearch,
        url: StoreUrl,
        target: Target,
        encoder: SparseEncoder,
        alias: str | None,
        sender: BulkSender,
        *,
        refresh: bool = True,
    ) -> None:
        self._client, self._url, self._target, self._alias = client, url, target, alias
        self._bundle, self._variant = encoder.bundle, encoder.variant.name
        self._sender, self._refresh = sender, refresh
        self._field: OpenedField | None = None
        self._loss = Loss()
        self._resumed = False

    @property
    def text_field(self) -> str:
        return self._target.text_field if self._field is None else self._field.meta.text_field

    @property
    def facts(self) -> Mapping[str, object]:
        return {"alias": self._alias, "target": asdict(self._target)}

    def open(self, *, fresh: bool) -> bool:
        """See `Collection`.

        Raises:
            InputError: also if the index or alias is there already, where a new one is to be built.
        """
        self._resumed = not fresh
        self._field = self._sender.ask(self._opened, first=True)
        if (alias := self._alias) is not None:
            self._sender.ask(lambda: self._check_alias(alias, fresh=fresh))
        return self._field is not None

    def _opened(self) -> OpenedField | None:
        return open_field(self._client, self._url, self._target, self._bundle, variant=self._variant)

    def write(self, rows: Sequence[Row], vectors: SparseVectors) -> Sequence[Refused]:
        if self._field is None:
            self._field = self._make(vectors)
        keys = self._field.keys
        self._loss += loss_of(keys, vectors)
        sent: list[int] = []
        documents: list[Document] = []
        refused: list[Refused] = []
        for position, (row, vector) in enumerate(zip(rows, vectors_json(vectors, keys), strict=True)):
            try:
                documents.append(
                    Document(row.id, _body(row.fields, self._target.field, vector, kind=self._field.meta.kind))
                )
                sent.append(position)
            except InputError as error:
                refused.append(Refused(position, str(error)))
        answers = self._sender.send(documents)
        return [*refused, *(Refused(sent[each.position], f"{each.status} {each.reason}") for each in answers)]

    def finish(self) -> Sequence[str]:
        """See `Collection`: the documents can be found, and the alias points to them."""
        report = []
        if self._field is None and (self._target.kind or "rank_features") == "rank_features":
            self._field = self._make(None)
        if (field := self._field) is not None and self._refresh:
            self._sender.ask(lambda: self._client.indices.refresh(index=field.index))
        if field is not None and (alias := self._alias) is not None:
            before = self._sender.ask(lambda: self._pointed(alias, field.index))
            self._sender.ask(lambda: self._switch(alias, field.index))
            was = f", which was {', '.join(before)}" if before else ""
            report.append(f"the alias {alias!r} is {field.index} now{was}")
        if self._sender.retries:
            report.append(f"{counted_were(self._sender.retries, 'request')} sent again")
        if (replaced := self._sender.replaced) and not self._resumed:  # else they may be the job's own
            report.append(f"{counted(replaced, 'document')} replaced ones that were there with the same _id")
        if self._loss.entries:
            report.append(
                f"{self._loss.entries:,} entries of tokens without a number were dropped, "
                f"{self._loss.share:.2%} of the weight"
            )
        return report

    def _make(self, sample: SparseVectors | None) -> OpenedField:
        return self._sender.ask(
            lambda: make_index(self._client, self._url, self._target, self._bundle, sample, variant=self._variant)
        )

    def _check_alias(self, alias: str, *, fresh: bool) -> None:
        if alias == self._url.name:
            raise InputError(f"the index and its alias are both {alias!r}; give the index a name of its own")
        if self._client.indices.exists(index=alias) and not self._client.indices.exists_alias(name=alias):
            raise InputError(f"{alias!r} is an index, so it cannot be an alias; choose another name")
        if fresh and self._field is not None:
            raise InputError(f"{self._url} is there already; for the alias {alias!r} a new index is built: name it so")

    def _pointed(self, alias: str, index: str) -> list[str]:
        """The other indexes that an alias points at."""
        if not self._client.indices.exists_alias(name=alias):
            return []
        return sorted(set(self._client.indices.get_alias(name=alias)) - {index})

    def _switch(self, alias: str, index: str) -> None:
        """Point the alias at the index instead, in one step."""
        removed = [{"remove": {"index": name, "alias": alias}} for name in self._pointed(alias, index)]
        self._client.indices.update_aliases(body={"actions": [*removed, {"add": {"index": index, "alias": alias}}]})


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


def _body(fields: Mapping[str, object], vector_field: str, vector: str, kind: str) -> bytes:
    """The document with its vector; a vector without entries is left out of a sparse_vector field, where it would have
    the cluster refuse other documents ("inconsistency of field data structures").

    Raises:
        InputError: the document has the vector's field already, or holds what JSON cannot.
    """
    if vector_field in fields:
        raise InputError(f"the document has a field {vector_field!r} already, where its vector is to be")
    if vector == "{}" and kind == "sparse_vector":
        return json_of(fields).encode()
    return f"{json_of(fields)[:-1]},{json.dumps(vector_field)}:{vector}}}".encode()
