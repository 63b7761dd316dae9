"""PostgreSQL with pgvector: documents in a table (`postgresql://HOST:PORT/DATABASE?table=NAME`), by COPY.

A `sparsevec` counts its dimensions from 1, and holds at most 16,000 entries; an HNSW index takes 1,000. Without an
index, which is the default, PostgreSQL looks at every row and the ranking is exact.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .encoder import SparseEncoder
from .errors import DependencyError, InputError, StoreError
from .files.sinks.store import Refused, Row, StoreSink, open_store_sink
from .filters import field_paths, wanted_values
from .hits import best_passages, encode_question, matches_of, take_passage
from .json_text import parse_json
from .origin import Origin, origin_from, origin_of
from .stores import PLAIN, Answer, Connection, Hit, How, Load, StoreUrl, check_no_alias
from .vectors import SparseVector, SparseVectors

if TYPE_CHECKING:
    from psycopg import Connection as Database
    from psycopg.sql import Identifier

SPARSEVEC_ENTRIES = 16_000
HNSW_ENTRIES = 1_000
TEXT = "text"


@dataclass(frozen=True)
class Target:
    """What the options of a URL say.

    Attributes:
        table: its name, with that of its schema if a dot is in it.
        field: the column of the vectors.
        hnsw: whether an HNSW index is made, which is fast and approximate.
        socket: the folder of the server's socket, instead of a host.
    """

    table: str = "documents"
    field: str = "sparse"
    hnsw: bool = False
    socket: str | None = None

    @classmethod
    def of(cls, url: StoreUrl) -> Target:
        """Read a URL's options.

        Raises:
            InputError: an option that does not exist, or of a value that it cannot have.
        """
        options = url.checked_options("table", "field", "index", "socket")
        if options.get("index", "hnsw") != "hnsw":
            raise InputError(f"the URL's index is {options['index']!r}; hnsw is the only one, none searches exactly")
        target = cls(
            options.get("table", "documents"), options.get("field", "sparse"), "index" in options, options.get("socket")
        )
        if target.field in ("", "id", "document_id", "document"):
            raise InputError(f"the URL's field is {target.field!r}; give another name")
        if not all(target.table.split(".")):
            raise InputError(f"the URL's table is {target.table!r}; give a name, or SCHEMA.NAME")
        return target

    @property
    def most(self) -> int:
        """Entries that a vector may have."""
        return HNSW_ENTRIES if self.hnsw else SPARSEVEC_ENTRIES


@contextmanager
def open_pgvector_sink(
    url: StoreUrl,
    connection: Connection,
    encoder: SparseEncoder,
    load: Load,
    *,
    waiting: Callable[[str], object] = lambda reason: None,
) -> Iterator[StoreSink]:
    """The sink of a URL, see `spladert.stores.open_sink`."""
    check_no_alias(url, load)
    target = Target.of(url)
    with _connected(url, target, connection) as database:
        table = PgvectorTable(database, url, target, encoder)
        where = f"{url}?table={target.table}"
        with open_store_sink(table, where, f"{url.name}-{target.table}", load) as sink:
            yield sink


@contextmanager
def open_pgvector_searcher(url: StoreUrl, connection: Connection) -> Iterator[PgvectorSearcher]:
    """The searcher of a URL, see `spladert.stores.open_searcher`."""
    target = Target.of(url)
    with _connected(url, target, connection) as database:
        origin = _origin(database, url, target)
        if origin is None:
            raise InputError(
                f"{url} has no table {target.table!r}; fill it with spladert encode --output '{url.whole}'"
            )
        yield PgvectorSearcher(database, url, target, origin)


class PgvectorTable:
    """A table, as a `Collection`."""

    text_field = TEXT

    def __init__(self, database: Database, url: StoreUrl, target: Target, encoder: SparseEncoder) -> None:
        self._database, self._url, self._target = database, url, target
        self._made_by = origin_of(encoder.bundle, encoder.variant.name)
        self._size = encoder.manifest.vocabulary_size
        self._there = False
        self._cut = 0

    @property
    def facts(self) -> Mapping[str, object]:
        return {"target": asdict(self._target)}

    def open(self, *, fresh: bool) -> bool:
        origin = _origin(self._database, self._url, self._target)
        if origin is not None:
            origin.check(self._made_by, f"table {self._target.table!r} of {self._url}")
        self._there = origin is not None
        return self._there

    def write(self, rows: Sequence[Row], vectors: SparseVectors) -> Sequence[Refused]:
        from psycopg.sql import SQL, Identifier

        self._make()
        refused: list[Refused] = []
        taken: dict[str, tuple[str, str, str, str]] = {}  # by id: of equal ones the last counts
        for position, (row, vector) in enumerate(zip(rows, vectors, strict=True)):
            try:
                document = row.to_json()
            except InputError as error:
                refused.append(Refused(position, str(error)))
                continue
            if "\\u0000" in document:
                refused.append(Refused(position, "it has a NUL character, which PostgreSQL does not take"))
                continue
            self._cut += len(vector) > self._target.most
            literal = sparsevec(vector, self._size, self._target.most)
            taken[row.id] = (row.id, row.document_id, literal, document)
        begun = list({row.document_id for row in rows if row.is_first and row.id in taken})
        table, field = _name(self._target.table), Identifier(self._target.field)
        columns = SQL("(id, document_id, {}, document)").format(field)
        with _explained(self._url), self._database.transaction(), self._database.cursor() as cursor:
            # What an earlier version of the documents has besides goes too.
            cursor.execute(
                SQL("DELETE FROM {} WHERE document_id = ANY(%s) OR id = ANY(%s)").format(table), [begun, list(taken)]
            )
            with cursor.copy(SQL("COPY {} {} FROM STDIN").format(table, columns)) as copy:
                for content in taken.values():
                    copy.write_row(content)
        return refused

    def finish(self) -> Sequence[str]:
        from psycopg.sql import SQL, Identifier

        self._make()
        report = []
        if self._target.hnsw:
            table, field = _name(self._target.table), Identifier(self._target.field)
            index = Identifier(f"{self._target.table.replace('.', '_')}_{self._target.field}_hnsw"[:63])
            made = SQL("CREATE INDEX IF NOT EXISTS {} ON {} USING hnsw ({} sparsevec_ip_ops)").format(
                index, table, field
            )
            with _explained(self._url):
                self._database.execute(made)
        if self._cut:
            what = "an HNSW index" if self._target.hnsw else "a sparsevec"
            report.append(
                f"{self._cut:,} vectors had more than the {self._target.most:,} entries that {what} takes, "
                "and were cut to the heaviest"
            )
        return report

    def _make(self) -> None:
        from psycopg.sql import SQL, Identifier, Literal

        if self._there:
            return
        table, field = _name(self._target.table), Identifier(self._target.field)
        index = Identifier(f"{self._target.table.replace('.', '_')}_document_id"[:63])
        origin = Literal(json.dumps({"spladert": asdict(self._made_by)}))
        with _explained(self._url), self._database.transaction():
            self._database.execute("CREATE EXTENSION IF NOT EXISTS vector")
            self._database.execute(
                SQL(
                    "CREATE TABLE {} (id text PRIMARY KEY, document_id text NOT NULL, {} sparsevec({}) NOT NULL, "
                    "document jsonb NOT NULL)"
                ).format(table, field, Literal(self._size))
            )
            self._database.execute(SQL("CREATE INDEX {} ON {} (document_id)").format(index, table))
            self._database.execute(SQL("COMMENT ON TABLE {} IS {}").format(table, origin))
        self._there = True


@dataclass(frozen=True)
class PgvectorSearcher:
    """A table that can be asked."""

    database: Database
    url: StoreUrl
    target: Target
    origin: Origin

    @property
    def model(self) -> tuple[str | None, str | None]:
        """(bundle, revision) that open what made the vectors."""
        return self.origin.bundle, self.origin.revision

    def search(self, encoder: SparseEncoder, question: str, how: How = PLAIN) -> Answer:
        """See `Searcher`; there is no BM25 here to blend with."""
        if how.hybrid:
            raise InputError("PostgreSQL has no BM25 for a hybrid search; ask without, or take Qdrant or OpenSearch")
        self.origin.check(origin_of(encoder.bundle), f"table {self.target.table!r} of {self.url}")
        vector = encode_question(encoder, question)
        asked = sparsevec(vector, encoder.manifest.vocabulary_size, self.target.most)

        def find(limit: int) -> Sequence[Hit]:
            statement, values = query(self.target, asked, limit, how.filters)
            looked_at = str(min(max(2 * limit, 40), 1000))  # at least as many as are wanted, where there is an index
            with _explained(self.url):
                self.database.execute("SELECT set_config('hnsw.ef_search', %s, false)", [looked_at])
                found = self.database.execute(statement, values).fetchall()
            return [_hit(encoder, vector, *row) for row in found]

        return Answer(best_passages(find, how.top))


def sparsevec(vector: SparseVector, size: int, most: int = SPARSEVEC_ENTRIES) -> str:
    """A vector as pgvector writes it, `{dimension:weight,...}/size`, dimensions counted from 1.

    Args:
        vector: heaviest entries first.
        size: of the vocabulary.
        most: entries that are kept, the heaviest.
    """
    order = np.argsort(vector.indices[:most])
    pairs = zip(
        (vector.indices[:most][order] + 1).tolist(), vector.values[:most][order].astype(str).tolist(), strict=True
    )
    return f"{{{','.join(f'{i}:{weight}' for i, weight in pairs)}}}/{size}"


def query(target: Target, vector: str, limit: int, filters: Mapping[str, str] | None = None) -> tuple[Any, list[Any]]:
    """The statement and its values that find the best rows: id, score, vector and document of each.

    Raises:
        InputError: a filter's field cannot be one.
    """
    from psycopg.sql import SQL, Identifier

    table, field = _name(target.table), Identifier(target.field)
    conditions, values = [SQL("{} <#> %s::sparsevec < 0").format(field)], [vector]
    for name, value in (filters or {}).items():
        paths = field_paths(name)
        # JSON of either kind: `#>>` is the text of a string, and `#>` a value, of which numbers are equal as such.
        numbers = [json.dumps(each) for each in wanted_values(value) if not isinstance(each, str)]
        tests = [SQL("document #>> %s::text[] = %s"), *[SQL("document #> %s::text[] = %s::jsonb")] * len(numbers)]
        conditions.append(SQL("({})").format(SQL(" OR ").join(tests * len(paths))))
        for path in paths:
            for each in (value, *numbers):
                values += [path, each]  # type: ignore[list-item]
    statement = SQL(
        "SELECT id, -({field} <#> %s::sparsevec), {field}::text, document FROM {table} WHERE {where} "
        "ORDER BY {field} <#> %s::sparsevec LIMIT %s"
    ).format(field=field, table=table, where=SQL(" AND ").join(conditions))
    return statement, [vector, *values, vector, limit]


def _hit(encoder: SparseEncoder, vector: SparseVector, id: str, score: float, stored: str, document: Any) -> Hit:
    fields = dict(document)
    text, passage = str(fields.pop(TEXT, "")), take_passage(fields)
    entries = stored.partition("}")[0].removeprefix("{")
    pairs = (entry.split(":") for entry in entries.split(",") if entry)
    weights = {int(i) - 1: float(weight) for i, weight in pairs}
    return Hit(id, float(score), text, matches_of(encoder, vector, weights), fields, passage)


@contextmanager
def _connected(url: StoreUrl, target: Target, connection: Connection) -> Iterator[Database]:
    connection.check(url)
    try:
        import psycopg
    except ImportError as error:
        raise DependencyError(f"PostgreSQL needs psycopg ({error}): pip install 'spladert[pgvector]'") from error
    options: dict[str, Any] = {"connect_timeout": max(round(connection.timeout), 2)}
    if url.tls:
        files = {"sslrootcert": connection.ca, "sslcert": connection.client_cert, "sslkey": connection.client_key}
        options |= {name: str(path) for name, path in files.items() if path is not None}
        options["sslmode"] = "require" if connection.insecure else "verify-full"
        if connection.ca is None and not connection.insecure:
            options["sslrootcert"] = "system"
    with _explained(url):
        database = psycopg.connect(
            host=target.socket or url.host, port=url.port, dbname=url.name, autocommit=True, **options
        )
    try:
        yield database
    finally:
        database.close()


@contextmanager
def _explained(url: StoreUrl) -> Iterator[None]:
    """Turns what PostgreSQL raises in the block into a `StoreError`."""
    from psycopg import Error

    try:
        yield
    except Error as error:
        reason = " ".join(str(error).split())
        vector = "; pgvector 0.7 or later has to be installed there" if "vector" in reason else ""
        raise StoreError(f"{url} refuses, or does not answer: {reason[:500]}{vector}") from None


def _name(table: str) -> Identifier:
    from psycopg.sql import Identifier

    return Identifier(*table.split("."))


def _origin(database: Database, url: StoreUrl, target: Target) -> Origin | None:
    quoted = ".".join('"' + part.replace('"', '""') + '"' for part in target.table.split("."))
    with _explained(url):
        row = database.execute(
            "SELECT obj_description(oid, 'pg_class') FROM pg_class WHERE oid = to_regclass(%s)", [quoted]
        ).fetchone()
    if row is None:
        return None
    try:
        content = parse_json(row[0] or "")["spladert"]
    except (ValueError, KeyError, TypeError):
        raise InputError(
            f"table {target.table!r} of {url} has no word on what made its vectors (its comment): they might be "
            "another model's; name another table"
        ) from None
    return origin_from(content, f"the comment of table {target.table!r}")
