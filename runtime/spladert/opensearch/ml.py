"""A model inside the cluster: uploading, deploying and asking it, through the ML plugin."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import StoreError

if TYPE_CHECKING:
    from opensearchpy import OpenSearch

CHUNK_BYTES = 10_000_000  # OpenSearch's own
DEPLOY_SECONDS = 600.0
BUSY = (429, 503)  # what a cluster answers that has too much to do, or whose own indexes are not up yet
BUSY_SECONDS = 60.0
_MODELS = "/_plugins/_ml/models"
_WHOLE = ["REGISTERED", "DEPLOYING", "DEPLOYED", "PARTIALLY_DEPLOYED", "UNDEPLOYED", "DEPLOY_FAILED"]


def register_model(client: OpenSearch, path: Path, registration: Mapping[str, object]) -> str:
    """Upload the zip of `spladert package --target opensearch-ml`; returns the model's id.

    Args:
        client: of `connect`.
        path: of the zip.
        registration: the body that was made with it.

    Raises:
        opensearchpy.OpenSearchException: the cluster refuses, or does not answer.
    """
    answer = post(client, f"{_MODELS}/_register_meta", dict(registration))
    model_id = str(answer["model_id"])
    headers = {"content-type": "application/json"}  # what the plugin asks for, whatever the bytes are
    with path.open("rb") as stream:
        number = 0
        while chunk := stream.read(CHUNK_BYTES):
            post(client, f"{_MODELS}/{model_id}/upload_chunk/{number}", chunk, headers=headers)
            number += 1
    return model_id


def find_model(client: OpenSearch, registration: Mapping[str, object]) -> str | None:
    """The id of a model that is there whole, with this name and content; None if there is none.

    Raises:
        opensearchpy.OpenSearchException: the cluster refuses, or does not answer.
    """
    from opensearchpy.exceptions import NotFoundError

    wanted = [
        {"term": {"name.keyword": registration["name"]}},
        {"term": {"model_content_hash_value": registration["model_content_hash_value"]}},
        {"terms": {"model_state": _WHOLE}},
    ]
    query = {"bool": {"filter": wanted, "must_not": {"exists": {"field": "chunk_number"}}}}
    try:
        answer = post(client, f"{_MODELS}/_search", {"query": query, "size": 1})
    except NotFoundError:  # no model was ever registered
        return None
    hits = answer["hits"]["hits"]
    return str(hits[0]["_id"]) if hits else None


def deploy_model(
    client: OpenSearch,
    model_id: str,
    *,
    patience: float = DEPLOY_SECONDS,
    sleep: Callable[[float], object] = time.sleep,
) -> None:
    """Load a model into the cluster's memory, and wait until it is there.

    Raises:
        StoreError: it could not be loaded, or not within `patience` seconds.
        opensearchpy.OpenSearchException: the cluster refuses, or does not answer.
    """
    task = start_deploying(client, model_id)["task_id"]
    end = time.monotonic() + patience
    while True:
        state = client.transport.perform_request("GET", f"/_plugins/_ml/tasks/{task}")
        if state["state"] == "COMPLETED":
            return
        if "FAILED" in state["state"]:
            raise StoreError(f"the cluster cannot load the model {model_id}: {state.get('error')}")
        if time.monotonic() > end:
            raise StoreError(f"the cluster has not loaded the model {model_id} in {patience:.0f} s")
        sleep(0.2)


def start_deploying(client: OpenSearch, model_id: str) -> Any:
    """Have a model loaded into the cluster's memory; the answer names the task.

    A cluster that notes something else of the model at that moment answers 409, and is asked again.

    Raises:
        opensearchpy.OpenSearchException: the cluster refuses, or does not answer.
    """
    return post(client, f"{_MODELS}/{model_id}/_deploy", busy=(*BUSY, 409))


def ask_model(client: OpenSearch, model_id: str, texts: Sequence[str]) -> list[dict[str, float]]:
    """`{token: weight}` of each text, by a model inside the cluster.

    Raises:
        StoreError: the answer is not that of a sparse encoding model.
        opensearchpy.OpenSearchException: the cluster refuses, or does not answer.
    """
    where = f"/_plugins/_ml/_predict/sparse_encoding/{model_id}"
    answer = post(client, where, {"text_docs": list(texts)})
    try:
        outputs = [output["dataAsMap"]["response"] for each in answer["inference_results"] for output in each["output"]]
        vectors = [{str(key): float(weight) for key, weight in one.items()} for many in outputs for one in many]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise StoreError(f"the model {model_id} answers what is no list of weights by token ({error!r})") from None
    if len(vectors) != len(texts):
        raise StoreError(f"the model {model_id} gave {len(vectors)} vectors for {len(texts)} texts")
    return vectors


def ingest_pipeline(model_id: str, text_field: str, vector_field: str, *, batch_size: int = 10) -> dict[str, Any]:
    """The body of an ingest pipeline by which documents get their vectors inside the cluster."""
    processor = {"model_id": model_id, "batch_size": batch_size, "field_map": {text_field: vector_field}}
    return {"processors": [{"sparse_encoding": processor}]}


def post(
    client: OpenSearch,
    path: str,
    body: Mapping[str, object] | bytes | None = None,
    params: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    *,
    busy: Collection[int] = BUSY,
) -> Any:
    """`ask_again` with a POST."""
    send = partial(client.transport.perform_request, "POST", path, body=body, params=params, headers=headers)
    return ask_again(send, busy)


def ask_again(send: Callable[[], Any], busy: Collection[int] = BUSY, *, patience: float = BUSY_SECONDS) -> Any:
    """Send a request to the ML plugin; again for `patience` seconds where its answer has one of the `busy` statuses.

    Raises:
        opensearchpy.OpenSearchException: the cluster refuses, or does not answer.
    """
    from opensearchpy.exceptions import TransportError

    end = time.monotonic() + patience
    while True:
        try:
            return send()
        except TransportError as error:
            if error.status_code not in busy or time.monotonic() > end:
                raise
        time.sleep(0.5)
