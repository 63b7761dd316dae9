"""Searching an index: a question's vector against the documents', and which tokens made each score."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..encoder import SparseEncoder
from ..errors import InputError
from ..hits import best_passages, check_question, take_passage
from ..stores import PLAIN, Answer, Connection, Hit, How, Match, StoreUrl
from ..vectors import SparseVector
from .client import connect, explained
from .entries import query_tokens
from .keys import Keys, loss_of
from .meta import FieldMeta
from .query import hybrid_body, query_clause
from .target import Target, keys_for, read_field

if TYPE_CHECKING:
    from opensearchpy import OpenSearch


@contextmanager
def open_opensearch_searcher(url: StoreUrl, connection: Connection) -> Iterator[OpenSearchSearcher]:
    """The searcher of a URL, see `spladert.stores.open_searcher`."""
    target = Target.of(url)
    client = connect(url, connection)
    try:
        with explained(url):
            found = read_field(client, url, target)
        if found is None:
            raise InputError(f"there is no index {url}; fill it with spladert encode --input FILE --output '{url}'")
        index, meta, kind = found
        if meta is None:
            fields = "nothing in it was made by spladert" if kind is None else f"its {kind} is of unknown origin"
            raise InputError(f"{url} has no field {target.field!r} of spladert's: {fields}; name another with ?field=")
        yield OpenSearchSearcher(client, url, target.field, index, meta)
    finally:
        client.close()


@dataclass(frozen=True)
class OpenSearchSearcher:
    """A field of an index that can be asked.

    Attributes:
        field: its name.
        index: the index's own name.
        meta: what made it.
    """

    client: OpenSearch
    url: StoreUrl
    field: str
    index: str
    meta: FieldMeta

    @property
    def model(self) -> tuple[str | None, str | None]:
        """(bundle, revision) that open what made the index."""
        return self.meta.bundle, self.meta.revision

    def search(self, encoder: SparseEncoder, question: str, how: How = PLAIN) -> Answer:
        """The best documents for a question.

        Args:
            encoder: over the bundle that made the index; another variant of it may ask.
            question: any text.
            how: filters of text are looked up in the field's `keyword`, as a dynamic mapping has it.

        Raises:
            InputError: the question is empty or has no token that the index knows (which only `hybrid` does without),
                the encoder is another model, or a filter's field cannot be looked up.
            StoreError: the cluster refuses, or does not answer.
        """
        check_question(question)
        with explained(self.url):
            keys = keys_for(self.client, self.index, self.meta, encoder.bundle)
            self.meta.check(FieldMeta.of(encoder.bundle, keys, self.meta.kind), f"field {self.field!r} of {self.url}")
            vector = encoder.encode_query(question)
            chosen = [self._filter(name, value) for name, value in how.filters.items()]
        weights = query_tokens(vector, keys)
        names = dict(zip(keys.spell(vector), encoder.tokens[vector.indices].tolist(), strict=True))

        def find(limit: int) -> Sequence[Hit]:
            with explained(self.url):
                found = self._ask(question, vector, keys, limit, how.hybrid, chosen)
            return [self._hit(hit, weights, names) for hit in found]

        hits = best_passages(find, how.top)
        loss = loss_of(keys, vector)
        return Answer(hits, lost_entries=loss.entries, lost_share=loss.share)

    def _ask(
        self,
        question: str,
        vector: SparseVector,
        keys: Keys,
        top: int,
        hybrid: bool,
        filters: Sequence[dict[str, Any]],
    ) -> list[dict[str, Any]]:
        from opensearchpy.exceptions import RequestError

        try:
            body = self._body(question, vector, keys, top, hybrid, filters, plugin=True)
            answer = self.client.search(index=self.index, body=body)
        except RequestError as error:
            if hybrid or "unknown query [neural_sparse]" not in str(error):
                raise
            body = self._body(question, vector, keys, top, hybrid, filters, plugin=False)
            answer = self.client.search(index=self.index, body=body)
        hits: list[dict[str, Any]] = answer["hits"]["hits"]
        return hits

    def _body(
        self,
        question: str,
        vector: SparseVector,
        keys: Keys,
        top: int,
        hybrid: bool,
        filters: Sequence[dict[str, Any]],
        *,
        plugin: bool,
    ) -> dict[str, Any]:
        if hybrid and not query_tokens(vector, keys):  # BM25 alone
            words = {"match": {self.meta.text_field: {"query": question}}}
            return {"size": top, "query": _filtered(words, filters)}
        kind: Any = self.meta.kind
        clause = query_clause(vector, self.field, kind, keys, plugin=plugin, top=top)
        body: dict[str, Any] = {"size": top, "query": _filtered(clause, filters)}
        if hybrid:
            body = hybrid_body(question, clause, text_field=self.meta.text_field, top=top)
            blended = body["query"]["hybrid"]
            blended["queries"] = [_filtered(query, filters) for query in blended["queries"]]
        return body

    def _filter(self, name: str, value: str) -> dict[str, Any]:
        """The query that a field has a value.

        Raises:
            InputError: it is text that is not kept as a whole.
        """
        mapping: Mapping[str, Any] = self.client.indices.get_mapping(index=self.index)[self.index]["mappings"]
        for part in name.split("."):
            mapping = mapping.get("properties", {}).get(part, {})
        if mapping.get("type") == "text":
            keyword = [sub for sub, kept in mapping.get("fields", {}).items() if kept.get("type") == "keyword"]
            if not keyword:
                raise InputError(f"field {name!r} of {self.url} is text without a keyword beside it, and no filter")
            name = f"{name}.{keyword[0]}"
        return {"match": {name: {"query": value, "lenient": True}}}

    def _hit(self, hit: Mapping[str, Any], weights: Mapping[str, float], names: Mapping[str | None, str]) -> Hit:
        source = hit.get("_source", {})
        stored: Mapping[str, float] = source.get(self.field) or {}
        matches = [Match(names[key], weights[key], float(stored[key])) for key in weights if key in stored]
        matches.sort(key=lambda match: -match.product)
        fields = {name: value for name, value in source.items() if name not in (self.field, self.meta.text_field)}
        text, passage = str(source.get(self.meta.text_field, "")), take_passage(fields)
        return Hit(str(hit["_id"]), float(hit["_score"]), text, tuple(matches), fields, passage)


def _filtered(query: dict[str, Any], filters: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {"bool": {"must": [query], "filter": list(filters)}} if filters else query
