"""Milvus: documents in a collection of a server, or of Milvus Lite's file (`milvus:///FILE.db?collection=NAME`)."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from .encoder import SparseEncoder
from .errors import DependencyError, InputError, StoreError
from .files.records import MAX_ID_BYTES
from .files.sinks.store import Refused, Row, StoreSink, open_store_sink
from .filters import field_paths, wanted_values
from .hits import best_passages, encode_question, matches_of, take_passage
from .json_text import parse_json
from .origin import Origin, origin_from, origin_of
from .stores import PLAIN, Answer, Connection, Hit, How, Load, StoreUrl, check_no_alias, missing_collection
from .vectors import SparseVector, SparseVectors

if TYPE_CHECKING:
    from pymilvus import MilvusClient

TOKEN = "MILVUS_TOKEN"
PROPERTY = "spladert"  # the collection's property that says what made it
ID, DOCUMENT_ID, DOCUMENT = "id", "document_id", "document"  # fields, besides the URL's for the vectors
TEXT = "text"  # in the document
UNREACHABLE = 2  # the code of Milvus's error
NOT_OPENED = "Open local milvus failed"  # all that the client says of Milvus Lite's reasons


@contextmanager
def open_milvus_sink(
    url: StoreUrl,
    connection: Connection,
    encoder: SparseEncoder,
    load: Load,
    *,
    waiting: Callable[[str], object] = lambda reason: None,
) -> Iterator[StoreSink]:
    """The sink of a URL, see `spladert.stores.open_sink`."""
    check_no_alias(url, load)
    with _client(url, connection) as client:
        collection = MilvusCollection(client, url, _field(url), encoder)
        with open_store_sink(collection, str(url), url.name, load) as sink:
            yield sink


@contextmanager
def open_milvus_searcher(url: StoreUrl, connection: Connection) -> Iterator[MilvusSearcher]:
    """The searcher of a URL, see `spladert.stores.open_searcher`."""
    field = _field(url)
    if url.path is not None and not (url.path.is_file() or (url.path.is_dir() and any(url.path.iterdir()))):
        raise missing_collection(url)  # before the client makes what is not there
    with _client(url, connection) as client:
        origin = _origin(client, url)
        if origin is None:
            raise missing_collection(url)
        with _explained(url):
            client.load_collection(url.name)  # it is not after a crash of Milvus Lite
        yield MilvusSearcher(client, url, field, origin)


class MilvusCollection:
    """A collection of Milvus, as a `Collection`."""

    text_field = TEXT

    def __init__(self, client: MilvusClient, url: StoreUrl, field: str, encoder: SparseEncoder) -> None:
        self._client, self._url, self._field = client, url, field
        self._made_by = origin_of(encoder.bundle, encoder.variant.name)
        self._there = False

    @property
    def facts(self) -> Mapping[str, object]:
        return {"field": self._field}

    def open(self, *, fresh: bool) -> bool:
        origin = _origin(self._client, self._url)
        if origin is not None:
            origin.check(self._made_by, str(self._url))
        self._there = origin is not None
        return self._there

    def write(self, rows: Sequence[Row], vectors: SparseVectors) -> Sequence[Refused]:
        self._make()
        refused: list[Refused] = []
        taken: dict[int, dict[str, Any]] = {}
        for position, (row, vector) in enumerate(zip(rows, vectors, strict=True)):
            if not len(vector):
                refused.append(Refused(position, "its vector is empty, which Milvus does not take"))
                continue
            try:
                document = row.plain_fields()
            except InputError as error:
                refused.append(Refused(position, str(error)))
                continue
            content = {ID: row.id, DOCUMENT_ID: row.document_id, self._field: vector.to_dict(), DOCUMENT: document}
            taken[position] = content
        begun = [rows[position].document_id for position in taken if rows[position].is_first]
        if begun:  # what an earlier version of the document has besides
            with _explained(self._url):
                self._client.delete(self._url.name, filter=f"{DOCUMENT_ID} in {_literal(begun)}")
        return [*refused, *self._upsert(list(taken), taken)]

    def finish(self) -> Sequence[str]:
        self._make()
        with _explained(self._url):
            self._client.flush(self._url.name)
            self._client.load_collection(self._url.name)
        return ()

    def _upsert(self, positions: Sequence[int], content: Mapping[int, dict[str, Any]]) -> list[Refused]:
        """Write rows; Milvus refuses all where it refuses one, which is found by halves."""
        from pymilvus.exceptions import MilvusException

        if not positions:
            return []
        try:
            self._client.upsert(self._url.name, [content[position] for position in positions])
        except MilvusException as error:
            if error.code == UNREACHABLE:
                raise StoreError(f"{self._url} does not answer: {error.message}; the same command goes on") from None
            if len(positions) == 1:
                return [Refused(positions[0], str(error.message))]
            half = len(positions) // 2
            return [*self._upsert(positions[:half], content), *self._upsert(positions[half:], content)]
        return []

    def _make(self) -> None:
        from pymilvus import DataType

        if self._there:
            return
        with _explained(self._url):
            schema = self._client.create_schema(enable_dynamic_field=False)
            schema.add_field(ID, DataType.VARCHAR, is_primary=True, max_length=MAX_ID_BYTES)
            schema.add_field(DOCUMENT_ID, DataType.VARCHAR, max_length=MAX_ID_BYTES)
            schema.add_field(self._field, DataType.SPARSE_FLOAT_VECTOR)
            schema.add_field(DOCUMENT, DataType.JSON)
            indexes = self._client.prepare_index_params()
            indexes.add_index(self._field, index_type="SPARSE_INVERTED_INDEX", metric_type="IP")
            indexes.add_index(DOCUMENT_ID, index_type="INVERTED")
            properties = {PROPERTY: json.dumps(asdict(self._made_by))}
            self._client.create_collection(self._url.name, schema=schema, index_params=indexes, properties=properties)
        self._there = True


@dataclass(frozen=True)
class MilvusSearcher:
    """A collection of Milvus that can be asked."""

    client: MilvusClient
    url: StoreUrl
    field: str
    origin: Origin

    @property
    def model(self) -> tuple[str | None, str | None]:
        """(bundle, revision) that open what made the vectors."""
        return self.origin.bundle, self.origin.revision

    def search(self, encoder: SparseEncoder, question: str, how: How = PLAIN) -> Answer:
        """See `Searcher`; there is no BM25 here to blend with."""
        if how.hybrid:
            raise InputError("there is no hybrid search in Milvus here; ask without it, or take Qdrant or OpenSearch")
        self.origin.check(origin_of(encoder.bundle), str(self.url))
        vector = encode_question(encoder, question)
        condition = " and ".join(f"({_condition(name, value)})" for name, value in how.filters.items())

        def find(limit: int) -> Sequence[Hit]:
            with _explained(self.url):
                (hits,) = self.client.search(
                    self.url.name,
                    data=[vector.to_dict()],
                    anns_field=self.field,
                    limit=limit,
                    filter=condition,
                    output_fields=[self.field, DOCUMENT],
                    search_params={"metric_type": "IP", "params": {"drop_ratio_search": 0.0}},
                )
            return [self._hit(encoder, vector, hit) for hit in hits]

        return Answer(best_passages(find, how.top))

    def _hit(self, encoder: SparseEncoder, vector: SparseVector, hit: Mapping[str, Any]) -> Hit:
        fields = dict(hit["entity"][DOCUMENT])
        text, passage = str(fields.pop(TEXT, "")), take_passage(fields)
        matches = matches_of(encoder, vector, hit["entity"][self.field])
        return Hit(str(hit[ID]), float(hit["distance"]), text, matches, fields, passage)


@contextmanager
def _client(url: StoreUrl, connection: Connection) -> Iterator[MilvusClient]:
    connection.check(url)
    try:
        from pymilvus import MilvusClient
    except ImportError as error:
        raise DependencyError("Milvus needs pymilvus: pip install 'spladert[milvus]'") from error
    for name in ("pymilvus", "milvus_lite"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # they log what is raised too, with a traceback
    if connection.insecure:
        raise InputError("--insecure is not for Milvus, whose client always checks: name the CA with --ca")
    with _explained(url):
        if url.path is not None:
            client = _local_client(url)
        else:
            files = {
                "ca_pem_path": connection.ca,
                "client_pem_path": connection.client_cert,
                "client_key_path": connection.client_key,
            }
            client = MilvusClient(
                f"{'https' if url.tls else 'http'}://{url.host}:{url.port}",
                token=os.environ.get(TOKEN, ""),
                timeout=connection.timeout,
                **{name: str(path) for name, path in files.items() if path is not None},
            )
    try:
        yield client
    finally:
        client.close()


def _local_client(url: StoreUrl) -> MilvusClient:
    from pymilvus import MilvusClient
    from pymilvus.exceptions import ConnectionConfigException

    try:
        return MilvusClient(str(url.path))
    except ConnectionConfigException as error:
        if error.message != NOT_OPENED:
            raise
        raise StoreError(
            f"{url} cannot be opened: it may be open in another process, or not yours to read and write"
        ) from None


@contextmanager
def _explained(url: StoreUrl) -> Iterator[None]:
    """Turns what the client raises in the block into a `StoreError`."""
    from pymilvus.exceptions import MilvusException

    try:
        yield
    except MilvusException as error:
        raise StoreError(f"{url} refuses, or does not answer: {error.message}") from None
    except (ImportError, ModuleNotFoundError) as error:
        raise DependencyError(f"{url} is a file of Milvus Lite ({error}): pip install 'spladert[milvus]'") from error


def _origin(client: MilvusClient, url: StoreUrl) -> Origin | None:
    with _explained(url):
        if not client.has_collection(url.name):
            return None
        written = (client.describe_collection(url.name).get("properties") or {}).get(PROPERTY)
    if written is None:
        raise InputError(
            f"{url} has no word on what made its vectors (properties of the collection): they might be another "
            "model's; name another collection"
        )
    try:
        content = parse_json(written)
    except ValueError as error:
        raise InputError(f"the properties of {url} cannot be read: {error}") from None
    return origin_from(content, f"what the properties of {url} say")


def _field(url: StoreUrl) -> str:
    field = url.checked_options("field").get("field", "sparse")
    if not field.isidentifier() or field in (ID, DOCUMENT_ID, DOCUMENT):
        raise InputError(f"the URL's field is {field!r}; give another name, of letters and digits")
    return field


def _condition(name: str, value: str) -> str:
    paths = [f"{DOCUMENT}{''.join(f'[{_literal(part)}]' for part in path)}" for path in field_paths(name)]
    return " or ".join(f"{path} == {_literal(each)}" for path in paths for each in wanted_values(value))


def _literal(value: object) -> str:
    """A value as Milvus's expressions have it."""
    return json.dumps(value, ensure_ascii=False)
