"""Points in a collection of a Qdrant server, or of its client's own local mode (`qdrant:///FOLDER?collection=NAME`)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ..bm25 import Entries
from ..encoder import SparseEncoder
from ..errors import DependencyError, InputError, StoreError
from ..files.records import PASSAGE
from ..files.sinks.store import StoreSink, open_store_sink
from ..filters import wanted_values
from ..origin import Origin, origin_from
from ..stores import Connection, Load, StoreUrl, check_no_alias, missing_collection
from .collection import PointsCollection
from .points import BM25, FUSED, RRF_K, Found, PointData, quoted_paths
from .search import PointsSearcher

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

API_KEY = "QDRANT_API_KEY"
LOCAL_META = "meta.json"  # what the client's local mode has in its folder
METADATA = "spladert"  # the key of the collection's metadata that says what made it
DATATYPES = ("float32", "float16", "uint8")


@contextmanager
def open_qdrant_sink(
    url: StoreUrl,
    connection: Connection,
    encoder: SparseEncoder,
    load: Load,
    *,
    waiting: Callable[[str], object] = lambda reason: None,
) -> Iterator[StoreSink]:
    """The sink of a URL, see `spladert.stores.open_sink`."""
    check_no_alias(url, load)
    with _opened(url, connection) as points:
        collection = PointsCollection(points, str(url), encoder)
        with open_store_sink(collection, str(url), url.name, load) as sink:
            yield sink


@contextmanager
def open_qdrant_searcher(url: StoreUrl, connection: Connection) -> Iterator[PointsSearcher]:
    """The searcher of a URL, see `spladert.stores.open_searcher`."""
    if url.path is not None and not (url.path / LOCAL_META).is_file():  # which the client would make
        raise missing_collection(url)
    with _opened(url, connection) as points:
        origin = points.origin()
        if origin is None:
            raise missing_collection(url)
        yield PointsSearcher(points, str(url), origin)


@dataclass(frozen=True)
class Target:
    """What the options of a URL say.

    Attributes:
        vector: name of the vectors.
        on_disk: whether their index is to be kept on disk alone.
        datatype: how their weights are to be kept.
    """

    vector: str = "sparse"
    on_disk: bool = False
    datatype: str = "float32"

    @classmethod
    def of(cls, url: StoreUrl) -> Target:
        """Read a URL's options.

        Raises:
            InputError: an option that does not exist, or of a value that it cannot have.
        """
        options = url.checked_options("vector", "on_disk", "datatype")
        target = cls(
            options.get("vector", "sparse"), options.get("on_disk") == "true", options.get("datatype", "float32")
        )
        if options.get("on_disk", "true") not in ("true", "false"):
            raise InputError(f"the URL's on_disk is {options['on_disk']!r}; give true or false")
        if target.datatype not in DATATYPES:
            raise InputError(f"the URL's datatype is {target.datatype!r}; choose one of {', '.join(DATATYPES)}")
        if not target.vector or target.vector == BM25:
            raise InputError(f"the URL's vector is {target.vector!r}; choose another name")
        return target


@contextmanager
def _opened(url: StoreUrl, connection: Connection) -> Iterator[ClientPoints]:
    target = Target.of(url)
    connection.check(url)
    try:
        from qdrant_client import QdrantClient
    except ImportError as error:
        raise DependencyError("Qdrant needs qdrant-client: pip install 'spladert[qdrant]'") from error
    with _explained(url):
        if url.path is not None:
            client = QdrantClient(path=str(url.path))
        else:
            tls: dict[str, Any] = {"verify": connection.tls()} if url.tls else {}
            client = QdrantClient(
                host=url.host,
                port=url.port,
                https=url.tls,
                api_key=os.environ.get(API_KEY),
                timeout=max(round(connection.timeout), 1),
                check_compatibility=False,  # which would be one more request, and a warning
                **tls,
            )
    try:
        yield ClientPoints(client, url, target)
    finally:
        client.close()


class ClientPoints:
    """Points of a collection, see `Points`."""

    def __init__(self, client: QdrantClient, url: StoreUrl, target: Target) -> None:
        self._client, self._url, self._target = client, url, target

    def origin(self) -> Origin | None:
        with _explained(self._url):
            if not self._client.collection_exists(self._url.name):
                return None
            metadata = self._client.get_collection(self._url.name).config.metadata or {}
        if METADATA not in metadata:
            raise InputError(
                f"{self._url} has no word on what made its vectors (metadata of the collection): they might be another "
                "model's; name another collection"
            )
        return origin_from(metadata[METADATA], f"the metadata of {self._url}")

    def make(self, origin: Origin) -> None:
        from qdrant_client import models

        index = models.SparseIndexParams(on_disk=self._target.on_disk, datatype=models.Datatype(self._target.datatype))
        with _explained(self._url):
            self._client.create_collection(
                self._url.name,
                sparse_vectors_config={
                    self._target.vector: models.SparseVectorParams(index=index),
                    BM25: models.SparseVectorParams(modifier=models.Modifier.IDF),
                },
                metadata={METADATA: asdict(origin)},
            )
            if self._url.path is None:  # the local mode has no such indexes
                field = f"{PASSAGE}.document"
                self._client.create_payload_index(self._url.name, field, models.PayloadSchemaType.KEYWORD, wait=True)

    def upsert(self, points: Sequence[PointData]) -> None:
        from qdrant_client import models

        made = []
        for point in points:
            vectors: dict[str, Any] = {BM25: models.SparseVector(indices=point.bm25[0], values=point.bm25[1])}
            if point.entries is not None:
                vectors[self._target.vector] = models.SparseVector(indices=point.entries[0], values=point.entries[1])
            made.append(models.PointStruct(id=point.id, vector=vectors, payload=point.payload))
        with _explained(self._url):
            self._client.upsert(self._url.name, made, wait=True)

    def delete(self, ids: Sequence[str]) -> None:
        with _explained(self._url):
            self._client.delete(self._url.name, list(ids), wait=True)

    def delete_passages(self, documents: Sequence[str]) -> None:
        from qdrant_client import models

        condition = models.FieldCondition(key=f"{PASSAGE}.document", match=models.MatchAny(any=list(documents)))
        with _explained(self._url):
            self._client.delete(self._url.name, models.Filter(must=[condition]), wait=True)

    def find(self, entries: Entries, bm25: Entries | None, filters: Mapping[str, str], limit: int) -> list[Found]:
        from qdrant_client import models

        vector, chosen = self._target.vector, _filter(filters) if filters else None
        queries: list[dict[str, Any]] = [
            {"query": models.SparseVector(indices=each[0], values=each[1]), "using": using}
            for each, using in ((entries, vector), (bm25, BM25))
            if each is not None and each[0]
        ]
        if bm25 is None:
            asked: dict[str, Any] = {**queries[0], "query_filter": chosen}
        else:
            depth = max(limit, FUSED)
            prefetches = [models.Prefetch(**query, filter=chosen, limit=depth) for query in queries]
            asked = {"query": models.RrfQuery(rrf=models.Rrf(k=RRF_K)), "prefetch": prefetches}
        with _explained(self._url):
            answer = self._client.query_points(
                self._url.name, **asked, limit=limit, with_payload=True, with_vectors=[vector]
            )
        return [Found(point.score, point.payload or {}, _weights(point.vector, vector)) for point in answer.points]

    def count(self) -> int:
        with _explained(self._url):
            return self._client.count(self._url.name, exact=True).count

    def settle(self) -> None:
        """A server does it by itself."""


@contextmanager
def _explained(url: StoreUrl) -> Iterator[None]:
    """Turns what the client raises in the block into a `StoreError`."""
    from sqlite3 import Error as SqliteError  # of the local mode, a full disk say

    from qdrant_client.http.exceptions import ApiException, UnexpectedResponse

    try:
        yield
    except UnexpectedResponse as error:
        login = f" (set {API_KEY})" if error.status_code in (401, 403) else ""
        reason = f"{error.status_code} {(error.content or b'')[:300].decode(errors='replace')}"
        raise StoreError(f"{url} refuses: {reason}{login}") from None
    except (ApiException, SqliteError, ValueError, RuntimeError, OSError) as error:  # the local mode has the latter
        raise StoreError(f"{url} cannot be used: {str(error)[:300]}") from None


def _weights(vector: Any, name: str) -> dict[int, float]:
    found = (vector or {}).get(name)
    return {} if found is None else dict(zip(found.indices, found.values, strict=True))


def _filter(filters: Mapping[str, str]) -> Any:
    from qdrant_client import models

    return models.Filter(
        must=[
            models.Filter(should=[_condition(path, v) for path in quoted_paths(name) for v in wanted_values(value)])
            for name, value in filters.items()
        ]
    )


def _condition(path: str, value: str | int | float | bool) -> Any:
    from qdrant_client import models

    if isinstance(value, float):
        return models.FieldCondition(key=path, range=models.Range(gte=value, lte=value))
    return models.FieldCondition(key=path, match=models.MatchValue(value=value))
