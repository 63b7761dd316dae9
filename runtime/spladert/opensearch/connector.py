"""OpenSearch's own processors over a running server: connectors, remote models and pipelines, as bodies of requests.

A cluster then encodes by itself: documents in its `sparse_encoding` processor, queries in `neural_sparse` with
`query_text`. Documents and queries have a connector and a model each, for a server tells them apart.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ..bundle import Bundle
from ..errors import InputError, StoreError
from ..stores import Connection, StoreUrl, parse_store_url
from ..tokenizer import Side
from .client import connect, explained
from .index import Kind, index_body
from .keys import Spelling, keys_of
from .ml import post
from .renumber import NUMBERS, needs_numbers
from .target import Target, open_field

if TYPE_CHECKING:
    from opensearchpy import OpenSearch

# What stands in a body for what only the cluster or the operator knows.
CONNECTOR_ID, MODEL_ID, KEY = "{side}-connector-id", "{side}-model-id", "api-key-of-the-server"
MARK = "\ue000"  # of the private use area: it stands for no character
SIDES: tuple[Side, ...] = ("document", "query")
# A bulk request's calls come all at once; one that waits for a connection longer than 10 seconds fails. In seconds.
CLIENT = {
    "max_connection": 30,
    "connection_timeout": 60,
    "read_timeout": 60,
}
# A call's texts as one list, with every character intact; of documents, which come many a call.
ALL_TEXTS = "connector.pre_process.default.embedding"
# A question comes alone, as the inside of a JSON string. OpenSearch would fill in `${parameters...}` within it, so the
# dollar signs are spelled as JSON may spell them; then the list becomes a string within the script's own answer.
ONE_TEXT = r"""
String list = '["' + params.text_docs[0].replace('$', '\\u0024') + '"]';
return '{"parameters":{"input":"' + list.replace('\\', '\\\\').replace('"', '\\"') + '"}}';
""".strip()
WAIT, READY = 60.0, "DEPLOYED"  # seconds for a model to be deployed, and its state then


@dataclass(frozen=True)
class Remote:
    """What the bodies are about.

    Attributes:
        server: URL of the server, as the cluster reaches it.
        name: of the models; the pipelines are NAME-ingest and NAME-search.
        field, text_field: of the vectors, and of the texts that they are made from.
        kind: of the vectors' field.
        batch_size: texts that an ingest pipeline sends in a call; at most the server's `max_client_batch_size`.

    Raises:
        InputError: the URL is not one of HTTP, or the batch size is out of range.
    """

    server: str
    name: str = "spladert"
    field: str = "sparse"
    text_field: str = "text"
    kind: Kind = "rank_features"
    batch_size: int = 64

    def __post_init__(self) -> None:
        url = urlsplit(self.server)
        if url.scheme not in ("http", "https") or not url.hostname or url.query or url.fragment:
            raise InputError(f"{self.server!r} is not the URL of a server; write http://HOST:PORT")
        if self.batch_size < 1:
            raise InputError(f"batch_size is {self.batch_size}; give 1 or more")

    @property
    def spelling(self) -> Spelling:
        """How the server spells tokens: ids are all that a sparse_vector field takes."""
        return "ids" if self.kind == "sparse_vector" else "tokens"


def connector_body(remote: Remote, side: Side, api_key: str | None = None) -> dict[str, Any]:
    """The body of `POST /_plugins/_ml/connectors/_create`."""
    output = f"opensearch-{remote.spelling}"
    escaped = "true" if side == "document" else "false"
    request = (
        f'{{"inputs": ${{parameters.input}}, "side": "{side}", "output": "{output}", "escaped_dollars": {escaped}}}'
    )
    return {
        "name": f"{remote.name}-{side}",
        "description": f"{side} vectors of a spladert server",
        "version": "1",
        "protocol": "http",
        "parameters": {"input_docs_processed_step_size": remote.batch_size},
        "client_config": CLIENT,
        "credential": {"key": KEY if api_key is None else api_key},  # OpenSearch wants one, used or not
        "actions": [
            {
                "action_type": "predict",
                "method": "POST",
                "url": f"{remote.server.rstrip('/')}/v1/encode",
                "headers": {"Content-Type": "application/json", "Authorization": "Bearer ${credential.key}"},
                "request_body": request,
                "pre_process_function": ALL_TEXTS if side == "document" else ONE_TEXT,
            }
        ],
    }


def model_body(remote: Remote, side: Side, connector_id: str | None = None) -> dict[str, Any]:
    """The body of `POST /_plugins/_ml/models/_register?deploy=true`."""
    return {
        "name": f"{remote.name}-{side}",
        "function_name": "remote",
        "description": f"{side} vectors of a spladert server",
        "connector_id": connector_id or CONNECTOR_ID.format(side=side),
    }


def ingest_pipeline(remote: Remote, model_id: str | None = None) -> dict[str, Any]:
    """The body of `PUT /_ingest/pipeline/NAME-ingest`.

    OpenSearch would fill in `${parameters...}` within a text too, and one such text would fail its whole call. So a
    copy of the text is sent, with a mark behind each dollar sign that the server takes out again.
    """
    sent = f"{remote.text_field}_sent"
    escape = {
        "field": remote.text_field,
        "target_field": sent,
        "pattern": r"\$",
        "replacement": rf"\${MARK}",
        "ignore_missing": True,
    }
    encode = {
        "model_id": model_id or MODEL_ID.format(side="document"),
        "batch_size": remote.batch_size,
        "field_map": {sent: remote.field},
    }
    processors: list[dict[str, Any]] = [
        {"gsub": escape},
        {"sparse_encoding": encode},
        {"remove": {"field": sent, "ignore_missing": True}},
    ]
    if remote.kind == "sparse_vector":  # an empty one there would have the cluster refuse other documents
        empty = f"ctx['{remote.field}'] != null && ctx['{remote.field}'].isEmpty()"
        processors.append({"remove": {"field": remote.field, "if": empty}})
    return {"description": "documents to sparse vectors", "processors": processors}


def search_pipeline(remote: Remote, model_id: str | None = None) -> dict[str, Any]:
    """The body of `PUT /_search/pipeline/NAME-search`: `neural_sparse` needs no `model_id` of its own then."""
    chosen = model_id or MODEL_ID.format(side="query")
    return {"request_processors": [{"neural_query_enricher": {"default_model_id": chosen}}]}


def remote_index(bundle: Bundle, remote: Remote) -> dict[str, Any]:
    """The body that creates an index which uses both pipelines by itself.

    Raises:
        InputError: a sparse_vector field would not survive the vocabulary, and its ids are those that the server gives.
    """
    size = bundle.manifest.vocabulary_size
    if remote.kind == "sparse_vector" and needs_numbers(size):
        raise InputError(
            f"this vocabulary has {size:,} ids, of which a sparse_vector field survives {NUMBERS:,} up to OpenSearch "
            "3.8, and a cluster that encodes by itself cannot number them anew: take --kind rank_features"
        )
    return index_body(
        bundle,
        remote.field,
        remote.kind,
        keys=keys_of(bundle, remote.spelling),
        text_field=remote.text_field,
        settings=_pipelines(remote),
    )


def _pipelines(remote: Remote) -> dict[str, str]:
    """The settings by which an index uses both pipelines."""
    return {"default_pipeline": f"{remote.name}-ingest", "search.default_pipeline": f"{remote.name}-search"}


def write_bodies(folder: Path, remote: Remote, index: Mapping[str, Any]) -> list[Path]:
    """Write the bodies as JSON, each named after what it creates; no key of the server is written.

    Args:
        folder: a new or empty one.
        remote: what to create.
        index: of `remote_index`.

    Raises:
        InputError: the folder has files already.
    """
    if folder.exists() and any(folder.iterdir()):
        raise InputError(f"{folder} is not empty; name another folder")
    bodies = {
        **{f"{side}-connector.json": connector_body(remote, side) for side in SIDES},
        **{f"{side}-model.json": model_body(remote, side) for side in SIDES},
        f"{remote.name}-ingest.json": ingest_pipeline(remote),
        f"{remote.name}-search.json": search_pipeline(remote),
        "index.json": index,
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, body in bodies.items():
        (folder / name).write_text(json.dumps(body, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    return [folder / name for name in bodies]


def register_remote(
    url: str,
    bundle: Bundle,
    remote: Remote,
    index: Mapping[str, Any],
    api_key: str | None = None,
    connection: Connection | None = None,
) -> dict[str, str]:
    """Create connectors, models, pipelines and the index in a cluster.

    Pipelines of the same name are replaced, and so are in use by their indexes at once; an index that is there and fits
    stays as it is.

    Args:
        url: of the cluster and the index, opensearch://HOST:PORT/INDEX.
        bundle: that the server has.
        remote: what to create.
        index: of `remote_index`.
        api_key: of the server, which OpenSearch keeps encrypted.
        connection: how to reach the cluster.

    Returns:
        Names and ids of what was created.

    Raises:
        InputError: the URL cannot be taken, or an index is there that does not fit; nothing is created then.
        StoreError: the cluster cannot be reached or refuses; where it does not trust the server's address, its
            setting `plugins.ml_commons.trusted_connector_endpoints_regex` has to name it.
    """
    place = parse_store_url(url)
    client = connect(place, connection or Connection())
    created: dict[str, str] = {}
    with explained(place):
        there = _index_is_there(client, place, bundle, remote)
        for side in SIDES:
            connector = connector_body(remote, side, api_key or "none")
            answer = post(client, "/_plugins/_ml/connectors/_create", connector)
            created[f"{side}_connector"] = answer["connector_id"]
            model = model_body(remote, side, created[f"{side}_connector"])
            answer = post(client, "/_plugins/_ml/models/_register", model, {"deploy": "true"})
            created[f"{side}_model"] = answer["model_id"]
            _wait_for(client, answer["model_id"])
        client.ingest.put_pipeline(id=f"{remote.name}-ingest", body=ingest_pipeline(remote, created["document_model"]))
        client.transport.perform_request(
            "PUT", f"/_search/pipeline/{remote.name}-search", body=search_pipeline(remote, created["query_model"])
        )
        created |= {"ingest_pipeline": f"{remote.name}-ingest", "search_pipeline": f"{remote.name}-search"}
        if not there:
            client.indices.create(index=place.name, body=index)
            created["index"] = place.name
    return created


def _index_is_there(client: OpenSearch, place: StoreUrl, bundle: Bundle, remote: Remote) -> bool:
    """
    Raises:
        InputError: it is there, and is another model's or of another kind, or does not use the pipelines.
    """
    target = Target(field=remote.field, kind=remote.kind, spelling=remote.spelling, text_field=remote.text_field)
    if open_field(client, place, target, bundle) is None:
        return False
    (answer,) = client.indices.get_settings(index=place.name, params={"flat_settings": "true"}).values()
    wanted = _pipelines(remote)
    if missing := [
        f"index.{name}: {use}" for name, use in wanted.items() if answer["settings"].get(f"index.{name}") != use
    ]:
        raise InputError(f"{place} is there, without {' and '.join(missing)}: set this there, or name a new index")
    return True


def _wait_for(client: OpenSearch, model: str) -> None:
    end = time.monotonic() + WAIT
    while (state := client.transport.perform_request("GET", f"/_plugins/_ml/models/{model}")["model_state"]) != READY:
        if state == "DEPLOY_FAILED" or time.monotonic() > end:
            raise StoreError(f"model {model} is {state} and not {READY}; look at the cluster's log")
        time.sleep(0.2)


def package_connector(
    bundle: Bundle,
    folder: Path,
    *,
    server: str,
    connection: Connection,
    register: str | None = None,
    api_key: str | None = None,
    **options: Any,
) -> list[str]:
    """`spladert package --target opensearch-connector`: write the bodies, and create them in a cluster if it is named.

    Raises:
        InputError, StoreError: as `Remote`, `remote_index`, `write_bodies` and `register_remote`.
    """
    remote = Remote(server, **options)
    index = remote_index(bundle, remote)
    lines = [str(path) for path in write_bodies(folder, remote, index)]
    if register is not None:
        created = register_remote(register, bundle, remote, index, api_key, connection)
        lines += [f"created {what.replace('_', ' ')} {name}" for what, name in created.items()]
    return lines
