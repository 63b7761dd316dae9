"""Stores of vectors by URL: one table of what there is, and how a URL and its connection are read.

Nothing of a store is imported before one of its URLs is opened.
"""

from __future__ import annotations

import importlib
import ssl
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from .errors import InputError
from .files.sinks.base import Sink
from .filters import check_filters

if TYPE_CHECKING:
    from .encoder import SparseEncoder


@dataclass(frozen=True)
class Store:
    """A kind of store.

    Attributes:
        extra: the extra of spladert that brings its client.
        port: where it listens if the URL does not say.
        login: where its login is taken from, as an order to the user.
        local: whether a URL may name a file or folder of this machine instead of a host.
        sink: "module:function" that opens the sink of a URL, see `open_sink`.
        searcher: "module:function" that opens the searcher of a URL, see `open_searcher`.
    """

    extra: str
    port: int
    login: str
    sink: str
    searcher: str
    local: bool = False


STORES: dict[str, Store] = {
    "opensearch": Store(
        "opensearch",
        9200,
        "set OPENSEARCH_USERNAME and OPENSEARCH_PASSWORD, or use a netrc file",
        sink="spladert.files.sinks.opensearch:open_opensearch_sink",
        searcher="spladert.opensearch.search:open_opensearch_searcher",
    ),
    "qdrant": Store(
        "qdrant",
        6333,
        "set QDRANT_API_KEY",
        sink="spladert.qdrant.client:open_qdrant_sink",
        searcher="spladert.qdrant.client:open_qdrant_searcher",
        local=True,
    ),
    "milvus": Store(
        "milvus",
        19530,
        "set MILVUS_TOKEN",
        sink="spladert.milvus:open_milvus_sink",
        searcher="spladert.milvus:open_milvus_searcher",
        local=True,
    ),
    "postgresql": Store(
        "pgvector",
        5432,
        "set PGUSER and PGPASSWORD, or use ~/.pgpass",
        sink="spladert.pgvector:open_pgvector_sink",
        searcher="spladert.pgvector:open_pgvector_searcher",
    ),
}
MOST = 10_000  # hits, and passages looked at
FOLDER_SEARCHER = "spladert.index:open_index_searcher"


@dataclass(frozen=True)
class Connection:
    """How a store is reached; credentials are never part of it.

    Attributes:
        ca: file of the certificates to trust instead of the system's.
        client_cert, client_key: files of one's own certificate and its key.
        insecure: do not check the store's certificate.
        aws: sign requests for this service, "es" (managed domains) or "aoss" (serverless); None does not sign.
        timeout: seconds that a request may take.
    """

    ca: Path | None = None
    client_cert: Path | None = None
    client_key: Path | None = None
    insecure: bool = False
    aws: str | None = None
    timeout: float = 60.0

    def check(self, url: StoreUrl) -> None:
        """Check that it fits a URL.

        Raises:
            InputError: certificates without TLS, one half of a pair, or a file that is missing.
        """
        files = {"--ca": self.ca, "--client-cert": self.client_cert, "--client-key": self.client_key}
        given = [name for name, path in files.items() if path is not None] + ["--insecure"] * self.insecure
        if given and not url.tls:
            raise InputError(f"{given[0]} is for TLS, and {url} has none: write {url.scheme}+https://")
        if (self.client_cert is None) != (self.client_key is None):
            raise InputError("--client-cert and --client-key belong together; give both or none")
        for name, path in files.items():
            if path is not None and not path.is_file():
                raise InputError(f"{name}: {path} is not a file")
        if self.aws is not None and url.scheme != "opensearch":
            raise InputError(f"--aws signs requests to OpenSearch, and {url} is none: leave it out")

    def tls(self) -> ssl.SSLContext:
        """What checks the store's certificate and shows one's own.

        Raises:
            InputError: a certificate cannot be read.
        """
        try:
            context = ssl.create_default_context(cafile=self.ca)
            if self.client_cert is not None:
                context.load_cert_chain(self.client_cert, self.client_key, password=_no_password)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            raise InputError(f"--ca, --client-cert or --client-key cannot be read as PEM: {error}") from None
        if self.insecure:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context


def _no_password() -> str:
    raise ValueError("the key asks for a password; give one without")


@dataclass(frozen=True)
class StoreUrl:
    """A store's URL, `opensearch://host:9200/index?field=sparse`, with `+https` after the scheme for TLS.

    Attributes:
        scheme: of `STORES`.
        tls: whether it is reached by TLS.
        host: name or address.
        port: the URL's, else the store's own.
        name: of the index or collection.
        options: what follows the question mark.
        path: the file or folder of this machine that is named instead of a host.
    """

    scheme: str
    tls: bool
    host: str
    port: int
    name: str
    options: Mapping[str, str] = field(default_factory=dict)
    path: Path | None = None

    def __str__(self) -> str:
        """The URL, without its options."""
        if self.path is not None:
            return f"{self.scheme}://{self.path}?collection={self.name}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}{'+https' if self.tls else ''}://{host}:{self.port}/{self.name}"

    @property
    def whole(self) -> str:
        """The URL with its options."""
        mark = "?" if self.path is None else "&"
        return f"{self}{mark}{urlencode(self.options, safe='/', quote_via=quote)}" if self.options else str(self)

    def checked_options(self, *known: str) -> Mapping[str, str]:
        """The options.

        Raises:
            InputError: one that is not among `known`.
        """
        for name in self.options:
            if name not in known:
                raise InputError(f"{self} has an option {name!r}, which is none; known are {', '.join(known)}")
        return self.options


@dataclass(frozen=True)
class Load:
    """What is asked of a sink besides where it writes.

    Attributes:
        input: name of the input, which tells one interrupted job from another.
        state: folder of what is needed to go on after an interruption; None is the user's state directory.
        alias: build a new index under the URL's name and point this alias at it when it is whole.
    """

    input: str
    state: Path | None = None
    alias: str | None = None


def is_store_url(place: str) -> bool:
    """Whether a place is written as a URL, be it a store's that is known or not."""
    return "://" in place


def parse_store_url(url: str, *, named: bool = True) -> StoreUrl:
    """Read a store's URL.

    Args:
        named: whether it has to name an index; without, it may not.

    Raises:
        InputError: it is none, or of no known store, or holds a password, which would be seen by everyone who lists
            the processes.
    """
    scheme_part = url.partition("://")[0]
    scheme, plus, transport = scheme_part.partition("+")
    if scheme not in STORES or (plus and transport != "https"):
        known = ", ".join(f"{name}:// or {name}+https://" for name in STORES)
        raise InputError(f"{scheme_part}:// is no store that is known here; known are {known}")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise InputError(f"the URL of the {scheme} store cannot be read: {error}") from None
    if parts.username is not None or parts.password is not None:
        raise InputError(
            f"the URL of the {scheme} store holds a user or a password, which every list of processes shows: "
            f"leave it out and {STORES[scheme].login}"
        )
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if STORES[scheme].local and not parts.hostname and parts.path:
        if not options.get("collection"):
            raise InputError(f"{url} names no collection; write {scheme_part}:///PATH?collection=NAME")
        name = options.pop("collection")
        return StoreUrl(scheme, bool(plus), "", STORES[scheme].port, name, options, Path(unquote(parts.path)))
    name = unquote(parts.path.strip("/"))
    if not parts.hostname or bool(name) != named or "/" in name:
        wanted = f"{scheme_part}://HOST:PORT{'/INDEX' if named else ''}"
        raise InputError(f"{url} names {'no index' if named else 'more than a host'}; write {wanted}")
    return StoreUrl(scheme, bool(plus), parts.hostname, port or STORES[scheme].port, name, options)


class Match(NamedTuple):
    """A token that a question and a document have in common.

    Attributes:
        token: its name.
        query, document: its weights on both sides, as they are stored.
    """

    token: str
    query: float
    document: float

    @property
    def product(self) -> float:
        """What it adds to the score."""
        return self.query * self.document


@dataclass(frozen=True)
class Hit:
    """A document that was found.

    Attributes:
        id: its own.
        score: the store's.
        text: its text, "" where the store does not keep it; of a document in passages the best passage's.
        matches: the tokens that made the score of the vectors, the one that adds most first.
        fields: its other fields.
        passage: which part of a document it is, {"document", "number", "begin", "end"}; None for a whole one.
    """

    id: str
    score: float
    text: str
    matches: tuple[Match, ...]
    fields: Mapping[str, Any] = field(default_factory=dict)
    passage: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Answer:
    """What was found for a question.

    Attributes:
        hits: the best first.
        lost_entries: tokens of the question that the index has no number for, where tokens are renumbered.
        lost_share: their share of the question's weight, 0 to 1.
    """

    hits: tuple[Hit, ...]
    lost_entries: int = 0
    lost_share: float = 0.0


@dataclass(frozen=True)
class How:
    """What is asked besides the question.

    Attributes:
        top: hits wanted, at most.
        hybrid: blend with BM25 over the text.
        filters: only documents whose fields have these values, numbers and booleans too written as text.
    """

    top: int = 10
    hybrid: bool = False
    filters: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """
        Raises:
            InputError: a number of hits or filters that cannot be taken.
        """
        if not isinstance(self.top, Integral) or not 1 <= self.top <= MOST:
            raise InputError(f"top is {self.top!r}; give the number of hits wanted, 1 to {MOST:,}")
        check_filters(self.filters)


PLAIN = How()


class Searcher(Protocol):
    """What can be asked."""

    @property
    def model(self) -> tuple[str | None, str | None]:
        """(bundle, revision) that open what made the vectors; (None, None) is the one that comes with spladert."""

    def search(self, encoder: SparseEncoder, question: str, how: How = PLAIN) -> Answer:
        """The best documents for a question; of a document in passages its best one.

        Args:
            encoder: over the bundle that made the vectors; another variant of it may ask.
            question: any text.
            how: what is asked besides.

        Raises:
            InputError: the question is empty or has no known token, or the encoder is not the index's model.
            StoreError: the store refuses, or does not answer.
        """


def missing_collection(url: StoreUrl) -> InputError:
    """What to raise where there is nothing to be asked."""
    return InputError(f"there is no collection {url}; fill it with spladert encode --output '{url.whole}'")


def check_no_alias(url: StoreUrl, load: Load) -> None:
    """
    Raises:
        InputError: an alias is asked of a store that is not given any here.
    """
    if load.alias is not None:
        raise InputError(f"--alias is for OpenSearch, and {url} is none: leave it out")


def open_sink(
    url: StoreUrl,
    connection: Connection,
    encoder: SparseEncoder,
    load: Load,
    waiting: Callable[[str], object] = lambda reason: None,
) -> AbstractContextManager[Sink]:
    """The sink of a store.

    Args:
        waiting: called with the reason before each wait for a store that cannot take more just now.

    Raises:
        InputError: the URL or the connection cannot be taken, or the index is another model's.
        StoreError: the store refuses, or does not answer.
        DependencyError: its client is not installed.
    """
    opener = _function(STORES[url.scheme].sink)
    opened: AbstractContextManager[Sink] = opener(url, connection, encoder, load, waiting=waiting)
    return opened


def open_searcher(where: str, connection: Connection) -> AbstractContextManager[Searcher]:
    """The searcher of a store's URL, or of a folder that `spladert index` made; raises as `open_sink`."""
    opened: AbstractContextManager[Searcher]
    if is_store_url(where):
        url = parse_store_url(where)
        opened = _function(STORES[url.scheme].searcher)(url, connection)
    elif connection != Connection():
        raise InputError(f"how to reach a store is for stores, and {where!r} is no URL of one: leave it out")
    else:
        opened = _function(FOLDER_SEARCHER)(Path(where))
    return opened


def _function(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)
