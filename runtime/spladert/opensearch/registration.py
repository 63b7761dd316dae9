"""Making a cluster use a server: connectors, remote models, pipelines and an index, all of them or none.

What is there with the same content is used again, so that the same command does nothing twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from ..bundle import Bundle
from ..encoder import SparseEncoder
from ..errors import InputError, StoreError
from ..signals import held_signals
from ..stores import Connection, StoreUrl, parse_store_url
from ..tokenizer import Side
from .client import connect, explain, explained
from .connector import SIDES, Remote, connector_body, ingest_pipeline, model_body, pipeline_settings, search_pipeline
from .encoding_server import check_server
from .entries import query_tokens
from .keys import keys_of
from .ml import BUSY, ask_again, ask_model, post, start_deploying
from .target import Target, open_field

if TYPE_CHECKING:
    from opensearchpy import OpenSearch

WAIT, READY = 60.0, "DEPLOYED"  # seconds for a model to be deployed, and its state then
UNDO_WAIT = 20.0  # seconds for something to be deleted
QUESTION = "당뇨병 치료"
NAMED = 4  # differences that a refusal names
_CONNECTORS, _MODELS, _GROUPS = "/_plugins/_ml/connectors", "/_plugins/_ml/models", "/_plugins/_ml/model_groups"


@dataclass(frozen=True)
class Part:
    """A part of a registration: what it is, its name or id, and whether it was there already."""

    what: str
    name: str
    there: bool

    def __str__(self) -> str:
        return f"{'kept' if self.there else 'created'} {self.what} {self.name}"


def register_remote(
    url: str,
    bundle: Bundle,
    remote: Remote,
    index: Mapping[str, Any],
    *,
    server_here: str | None = None,
    api_key: str | None = None,
    connection: Connection | None = None,
) -> list[Part]:
    """Create connectors, models, pipelines and the index in a cluster, and ask the models one question.

    The server is asked first. Where anything fails, or SIGINT or SIGTERM comes, what was made until then is removed
    again.

    Args:
        url: of the cluster and the index, opensearch://HOST:PORT/INDEX.
        bundle: that the server has.
        remote: what to create.
        index: of `remote_index`.
        server_here: URL of the server as this machine reaches it; None takes the one that the cluster does.
        api_key: of the server, which OpenSearch keeps encrypted.
        connection: how to reach the cluster.

    Returns:
        The parts, in the order in which they were made.

    Raises:
        InputError: the URL cannot be taken, the server has another model, or an index or pipelines of these names are
            there and are not these.
        StoreError: the server or the cluster cannot be reached, or refuses; where the cluster does not trust the
            server's address, its setting `plugins.ml_commons.trusted_connector_endpoints_regex` has to name it.
    """
    place = parse_store_url(url)
    client = connect(place, connection or Connection())
    check_server(server_here or remote.server, bundle, remote.batch_size, api_key)
    expected = _expected(bundle, remote)
    with explained(place), held_signals() as act_on_signals, ExitStack() as undo:
        there = _Pipelines.read(client, remote)
        named = there.check(client, place, remote)
        index_there = _index_is_there(client, place, bundle, remote, undo)
        parts: list[Part] = []
        models: dict[Side, str] = {}
        for side in SIDES:
            model, connector = named[side]
            connector = connector or _find_connector(client, remote, side)
            body = connector_body(remote, side, api_key or "none")
            connector_there = connector is not None
            if connector is None:
                connector = str(post(client, f"{_CONNECTORS}/_create", body)["connector_id"])
                undo.callback(_remove, client, f"{_CONNECTORS}/{connector}")
            act_on_signals()
            model = model or _find_model(client, connector)
            model_there = model is not None
            if model is None:
                model = _register(client, model_body(remote, side, connector), undo)
            act_on_signals()
            found = _ask(client, place, model, connector, body["credential"], renew=connector_there)
            if not _alike(found, expected[side]):
                raise InputError(
                    f"the server {remote.server}, as the cluster reaches it, gives other vectors than the bundle "
                    f"({_heaviest(found)} in place of {_heaviest(expected[side])}): serve this bundle there"
                )
            act_on_signals()
            models[side] = model
            parts += [Part(f"{side} connector", connector, connector_there), Part(f"{side} model", model, model_there)]
        parts += there.put(client, remote, models, undo)
        act_on_signals()
        if not index_there:
            client.indices.create(index=place.name, body=dict(index))
        parts.append(Part("index", place.name, index_there))
        undo.pop_all()
    return parts


@dataclass(frozen=True)
class _Pipelines:
    """The two pipelines of a registration as they are in the cluster, None where one is not there."""

    ingest: dict[str, Any] | None
    search: dict[str, Any] | None

    @classmethod
    def read(cls, client: OpenSearch, remote: Remote) -> _Pipelines:
        return cls(
            _get(client, f"/_ingest/pipeline/{remote.ingest_name}", remote.ingest_name),
            _get(client, f"/_search/pipeline/{remote.search_name}", remote.search_name),
        )

    def check(self, client: OpenSearch, place: StoreUrl, remote: Remote) -> dict[Side, tuple[str | None, str | None]]:
        """The ids of the model and of the connector by which each reaches the server, None where it is gone.

        Raises:
            InputError: they do something else than is to be registered, by the model that they name too.
        """
        ids: dict[Side, tuple[str | None, str | None]] = dict.fromkeys(SIDES, (None, None))
        wanted: dict[Side, tuple[str, dict[str, Any] | None, str, Callable[[Remote, str | None], dict[str, Any]]]] = {
            "document": (f"_ingest/pipeline/{remote.ingest_name}", self.ingest, "model_id", ingest_pipeline),
            "query": (f"_search/pipeline/{remote.search_name}", self.search, "default_model_id", search_pipeline),
        }
        for side, (path, there, key, body) in wanted.items():
            if there is None:
                continue
            model_id = _value(there, key)
            different = list(_differences(there, body(remote, model_id)))
            model = None if model_id is None else _get(client, f"{_MODELS}/{model_id}")
            if model is not None and "connector_id" not in model:
                different.append(f"its model {model_id} is none of a server")
            elif model is not None:
                connector_id = str(model["connector_id"])
                if (connector := _get(client, f"{_CONNECTORS}/{connector_id}")) is not None:
                    ids[side] = (model_id, connector_id)
                    different += _connector_differences(connector, remote, side)
            if different:
                raise InputError(
                    f"{path} is on {place.host}:{place.port} already and would be replaced ("
                    f"{'; '.join(different[:NAMED])}), though an index may use it: give another --name, or delete it "
                    "first if nothing does"
                )
        return ids

    def put(self, client: OpenSearch, remote: Remote, models: Mapping[Side, str], undo: ExitStack) -> list[Part]:
        """Write the pipelines that are not there, or whose models are gone."""
        parts = []
        for what, path, there, wanted in (
            (
                "ingest pipeline",
                f"/_ingest/pipeline/{remote.ingest_name}",
                self.ingest,
                ingest_pipeline(remote, models["document"]),
            ),
            (
                "search pipeline",
                f"/_search/pipeline/{remote.search_name}",
                self.search,
                search_pipeline(remote, models["query"]),
            ),
        ):
            same = there == wanted
            if not same:
                client.transport.perform_request("PUT", path, body=wanted)
            if there is None:
                undo.callback(_remove, client, path)
            elif not same:
                undo.callback(client.transport.perform_request, "PUT", path, body=there)
            parts.append(Part(what, path.rpartition("/")[2], same))
        return parts


def _value(body: object, key: str) -> str | None:
    """The first value of a key, at any depth."""
    if isinstance(body, Mapping) and key in body:
        return str(body[key])
    inner = body.values() if isinstance(body, Mapping) else body if isinstance(body, list) else ()
    return next((found for each in inner if (found := _value(each, key)) is not None), None)


def _differences(there: object, wanted: object, path: str = "") -> Iterator[str]:
    """What differs between two bodies, each as `path: what is there, now what is wanted`."""
    if isinstance(there, Mapping) and isinstance(wanted, Mapping):
        for key in sorted({*there, *wanted}):
            yield from _differences(there.get(key), wanted.get(key), f"{path}.{key}" if path else str(key))
    elif isinstance(there, list) and isinstance(wanted, list) and len(there) == len(wanted):
        for number, (one, other) in enumerate(zip(there, wanted, strict=True)):
            yield from _differences(one, other, f"{path}.{number}")
    elif there != wanted:
        yield f"{path}: {str(there)[:80]}, now {str(wanted)[:80]}"


def _connector_differences(there: Mapping[str, Any], remote: Remote, side: Side) -> list[str]:
    """As `_differences`, but for what the cluster adds, and for the key, which it does not tell."""
    wanted = connector_body(remote, side)
    del wanted["credential"]
    client = {key: there.get("client_config", {}).get(key) for key in wanted["client_config"]}
    kept = {key: there.get(key) for key in wanted} | {"client_config": client}
    return list(_differences(kept, wanted, f"{side} connector"))


def _find_connector(client: OpenSearch, remote: Remote, side: Side) -> str | None:
    """The id of a connector that is there with the same name and content."""
    query = {"query": {"term": {"name.keyword": connector_body(remote, side)["name"]}}, "size": 100}
    for hit in _hits(client, f"{_CONNECTORS}/_search", query):
        if not _connector_differences(hit["_source"], remote, side):
            return str(hit["_id"])
    return None


def _find_model(client: OpenSearch, connector: str) -> str | None:
    """The id of a model that uses a connector."""
    fields = ("connector_id", "connector_id.keyword")  # the first is a keyword by some versions, a text by others
    query = {"bool": {"should": [{"term": {name: connector}} for name in fields]}}
    hits = _hits(client, f"{_MODELS}/_search", {"query": query, "size": 1})
    return str(hits[0]["_id"]) if hits else None


def _hits(client: OpenSearch, path: str, query: Mapping[str, Any]) -> list[Any]:
    from opensearchpy.exceptions import NotFoundError

    try:
        return list(post(client, path, query)["hits"]["hits"])
    except NotFoundError:  # none was ever made
        return []


def _get(client: OpenSearch, path: str, name: str | None = None) -> dict[str, Any] | None:
    from opensearchpy.exceptions import NotFoundError

    try:
        answer: dict[str, Any] = client.transport.perform_request("GET", path)
    except NotFoundError:
        return None
    return answer if name is None else answer.get(name)


def _register(client: OpenSearch, body: Mapping[str, Any], undo: ExitStack) -> str:
    model = str(post(client, f"{_MODELS}/_register", body)["model_id"])
    undo.callback(_remove_model, client, model)
    return model


def _ask(
    client: OpenSearch, place: StoreUrl, model: str, connector: str, credential: Mapping[str, str], *, renew: bool
) -> dict[str, float]:
    """Deploy a model and ask it; its vector of `QUESTION`.

    One that was there and that the server refuses is given the key anew.

    Raises:
        StoreError: the cluster does not get an answer from the server.
    """
    from opensearchpy.exceptions import OpenSearchException

    try:
        _deploy(client, model)
        return ask_model(client, model, [QUESTION])[0]
    except StoreError as error:
        failure = str(error)
        renew = False
    except OpenSearchException as error:
        failure = explain(place, error)
        renew = renew and getattr(error, "status_code", None) == 401
    if renew:
        client.transport.perform_request("POST", f"{_MODELS}/{model}/_undeploy")
        client.transport.perform_request("PUT", f"{_CONNECTORS}/{connector}", body={"credential": dict(credential)})
        return _ask(client, place, model, connector, credential, renew=False)
    raise StoreError(f"the cluster gets no vectors from the server, whose address is the cluster's own view: {failure}")


def _expected(bundle: Bundle, remote: Remote) -> dict[Side, dict[str, float]]:
    """The bundle's own vectors of `QUESTION`."""
    keys = keys_of(bundle, remote.spelling)
    with SparseEncoder.from_bundle(bundle) as encoder:
        return {side: query_tokens(encoder.encode(QUESTION, side=side), keys) for side in SIDES}


def _alike(found: Mapping[str, float], expected: Mapping[str, float]) -> bool:
    """Whether two vectors may be of two variants of one bundle: the most of the weight is on the same tokens."""
    shared = sum(min(weight, expected.get(key, 0.0)) for key, weight in found.items())
    return shared > 0.9 * max(sum(found.values()), sum(expected.values())) - 1e-6


def _heaviest(vector: Mapping[str, float]) -> str:
    return ", ".join(sorted(vector, key=lambda key: -vector[key])[:3]) or "nothing"


def _deploy(client: OpenSearch, model: str) -> None:
    end = time.monotonic() + WAIT
    path = f"{_MODELS}/{model}"
    if client.transport.perform_request("GET", path)["model_state"] == READY:
        return
    start_deploying(client, model)
    while (state := client.transport.perform_request("GET", path)["model_state"]) != READY:
        if state == "DEPLOY_FAILED" or time.monotonic() > end:
            raise StoreError(f"model {model} is {state} and not {READY}; look at the cluster's log")
        time.sleep(0.2)


def _remove_model(client: OpenSearch, model: str) -> None:
    """Remove a model, and its group with it, which the cluster makes by itself, unless other models are in it."""
    from opensearchpy.exceptions import OpenSearchException

    with suppress(OpenSearchException):
        group = client.transport.perform_request("GET", f"{_MODELS}/{model}").get("model_group_id")
        with suppress(OpenSearchException):
            client.transport.perform_request("POST", f"{_MODELS}/{model}/_undeploy")
        _delete(client, f"{_MODELS}/{model}")
        client.transport.perform_request("DELETE", f"{_GROUPS}/{group}")


def _remove(client: OpenSearch, path: str) -> None:
    from opensearchpy.exceptions import OpenSearchException

    with suppress(OpenSearchException):
        _delete(client, path)


def _delete(client: OpenSearch, path: str) -> None:
    """Delete what this registration made; again for a while where the cluster answers 409, for what uses it, or what it
    writes down of it, is there for another moment."""
    ask_again(partial(client.transport.perform_request, "DELETE", path), (*BUSY, 409), patience=UNDO_WAIT)


def _index_is_there(client: OpenSearch, place: StoreUrl, bundle: Bundle, remote: Remote, undo: ExitStack) -> bool:
    """
    Raises:
        InputError: it is there, and is another model's or of another kind, or does not use the pipelines.
    """
    from opensearchpy.exceptions import NotFoundError

    try:
        [before] = client.indices.get_mapping(index=place.name).values()
    except (NotFoundError, ValueError):  # not there, or an alias of several, which is refused below
        before = {"mappings": {}}
    meta = before["mappings"].get("_meta", {})
    target = Target(field=remote.field, kind=remote.kind, spelling=remote.spelling, text_field=remote.text_field)
    if (opened := open_field(client, place, target, bundle)) is None:
        return False
    undo.callback(_restore_meta, client, opened.index, meta)
    (answer,) = client.indices.get_settings(index=place.name, params={"flat_settings": "true"}).values()
    wanted = pipeline_settings(remote)
    if missing := [
        f"index.{name}: {use}" for name, use in wanted.items() if answer["settings"].get(f"index.{name}") != use
    ]:
        raise InputError(f"{place} is there, without {' and '.join(missing)}: set this there, or name a new index")
    return True


def _restore_meta(client: OpenSearch, index: str, meta: Mapping[str, Any]) -> None:
    """What an index said of its fields before, if an empty one was taken."""
    from opensearchpy.exceptions import OpenSearchException

    with suppress(OpenSearchException):
        if client.indices.get_mapping(index=index)[index]["mappings"].get("_meta", {}) != meta:
            client.indices.put_mapping(index=index, body={"_meta": dict(meta)})
