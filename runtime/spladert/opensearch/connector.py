"""OpenSearch's own processors over a running server: connectors, remote models and pipelines, as bodies of requests.

A cluster then encodes by itself: documents in its `sparse_encoding` processor, queries in `neural_sparse` with
`query_text`. Documents and queries have a connector and a model each, for a server tells them apart.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..bundle import Bundle
from ..errors import InputError
from ..stores import Connection
from ..tokenizer import Side
from .index import Kind, index_body
from .keys import Spelling, keys_of
from .renumber import NUMBERS, needs_numbers

# What stands in a body for what only the cluster or the operator knows.
CONNECTOR_ID, MODEL_ID, KEY = "{side}-connector-id", "{side}-model-id", "api-key-of-the-server"
SENT = "_spladert_sent"  # a document's field while its text is on the way; then it is removed
MARK = "\ue000"  # of the private use area: it stands for no character
NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]*")
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
        InputError: the URL is not one of HTTP, or the name or the batch size cannot be taken.
    """

    server: str
    name: str = "spladert"
    field: str = "sparse"
    text_field: str = "text"
    kind: Kind = "rank_features"
    batch_size: int = 64

    def __post_init__(self) -> None:
        check_server_url(self.server)
        if not NAME.fullmatch(self.name):
            raise InputError(
                f"the name is {self.name!r}, of pipelines and files: give letters, digits, '.', '_' and '-', a letter "
                "or digit first"
            )
        if self.batch_size < 1:
            raise InputError(f"batch_size is {self.batch_size}; give 1 or more")

    @property
    def ingest_name(self) -> str:
        return f"{self.name}-ingest"

    @property
    def search_name(self) -> str:
        return f"{self.name}-search"

    @property
    def spelling(self) -> Spelling:
        """How the server spells tokens: ids are all that a sparse_vector field takes."""
        return "ids" if self.kind == "sparse_vector" else "tokens"


def check_server_url(server: str) -> str:
    """The URL of a server.

    Raises:
        InputError: it is not one of HTTP, or holds a password.
    """
    url = urlsplit(server)
    if url.username is not None or url.password is not None:
        raise InputError(
            f"the URL of the server {url.hostname} holds a user or a password, which every list of processes shows: a "
            "server's key is given by SPLADERT_API_KEY"
        )
    if url.scheme not in ("http", "https") or not url.hostname or url.query or url.fragment:
        raise InputError(f"{server!r} is not the URL of a server; write http://HOST:PORT")
    return server


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
        "parameters": {"input_docs_processed_step_size": str(remote.batch_size)},
        "client_config": CLIENT,
        "credential": {"key": KEY if api_key is None else api_key},  # OpenSearch wants one, used or not
        "actions": [
            {
                "action_type": "PREDICT",
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
    escape = {
        "field": remote.text_field,
        "target_field": SENT,
        "pattern": r"\$",
        "replacement": rf"\${MARK}",
        "ignore_missing": True,
    }
    encode = {
        "model_id": model_id or MODEL_ID.format(side="document"),
        "batch_size": remote.batch_size,
        "field_map": {SENT: remote.field},
    }
    processors: list[dict[str, Any]] = [
        {"gsub": escape},
        {"sparse_encoding": encode},
        {"remove": {"field": SENT, "ignore_missing": True}},
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
        settings=pipeline_settings(remote),
    )


def pipeline_settings(remote: Remote) -> dict[str, str]:
    """The settings by which an index uses both pipelines."""
    return {"default_pipeline": remote.ingest_name, "search.default_pipeline": remote.search_name}


def write_bodies(folder: Path, remote: Remote, index: Mapping[str, Any]) -> list[Path]:
    """Write the bodies as JSON, each named after what it creates; no key of the server is written.

    Args:
        folder: a new or empty one, or one with these bodies already.
        remote: what to create.
        index: of `remote_index`.

    Raises:
        InputError: the folder has other files.
    """
    bodies = {
        **{f"{side}-connector.json": connector_body(remote, side) for side in SIDES},
        **{f"{side}-model.json": model_body(remote, side) for side in SIDES},
        f"{remote.ingest_name}.json": ingest_pipeline(remote),
        f"{remote.search_name}.json": search_pipeline(remote),
        "index.json": index,
    }
    contents = {name: (json.dumps(body, ensure_ascii=False, indent=2) + "\n").encode() for name, body in bodies.items()}
    if folder.exists() and any(not _is(path, contents.get(path.name)) for path in folder.iterdir()):
        raise InputError(f"{folder} is not empty; name another folder")
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return [folder / name for name in bodies]


def _is(path: Path, content: bytes | None) -> bool:
    return path.is_file() and path.read_bytes() == content


def package_connector(
    bundle: Bundle,
    folder: Path,
    *,
    server: str,
    connection: Connection,
    register: str | None = None,
    server_here: str | None = None,
    api_key: str | None = None,
    **options: Any,
) -> list[str]:
    """`spladert package --target opensearch-connector`: write the bodies, and create them in a cluster if it is named.

    Raises:
        InputError, StoreError: as `Remote`, `remote_index`, `write_bodies` and `register_remote`.
    """
    remote = Remote(server, **options)
    if api_key is not None and not (api_key.isascii() and api_key.isprintable() and api_key == api_key.strip()):
        raise InputError("the API key has white space around it or characters that no HTTP header takes; give it again")
    if server_here is not None and register is None:
        raise InputError("--server-here is where the server is asked before --register: leave it out, or register")
    index = remote_index(bundle, remote)
    lines = [str(path) for path in write_bodies(folder, remote, index)]
    if register is not None:
        from .registration import register_remote

        here = None if server_here is None else check_server_url(server_here)
        parts = register_remote(
            register, bundle, remote, index, server_here=here, api_key=api_key, connection=connection
        )
        lines += [str(part) for part in parts]
    return lines
