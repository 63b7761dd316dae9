"""The model inside the cluster, as a target of `spladert package`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import StoreError
from ..stores import Connection, StoreUrl, parse_store_url

if TYPE_CHECKING:
    from ..bundle import Bundle

QUESTION = "당뇨병 치료"
# Between the cluster's ONNX Runtime and the engine here: they sum in another order, and an activation of int8 that
# falls on the other side of a step is up to 0.01 in a weight (seen).
CLOSE = 0.02


def package_ml(
    bundle: Bundle,
    output: Path,
    *,
    connection: Connection,
    variant: str | None = None,
    name: str | None = None,
    register: str | None = None,
) -> list[str]:
    """`spladert package --target opensearch-ml`: write the zip, and deploy it in a cluster if one is named.

    Raises:
        BundleError: the bundle has no such variant, or is not intact.
        DependencyError: the extra `export` is not installed.
        StoreError: the cluster refuses, or its model answers otherwise than the bundle.
    """
    from spladert_export.package.opensearch_ml import package_for_opensearch

    url = None if register is None else parse_store_url(register, named=False)
    made = package_for_opensearch(bundle, output, variant=variant, name=name)
    size = made.path.stat().st_size / 1e6
    lines = [f"{made.path}: {made.variant}, {size:.1f} MB; its registration is {made.path}.json"]
    if url is not None:
        lines.append(_register(bundle, url, connection, made.path, made.registration, made.variant))
    return lines


def _register(
    bundle: Bundle, url: StoreUrl, connection: Connection, path: Path, registration: dict[str, object], variant: str
) -> str:
    """Register the zip if it is not there, deploy it, and ask it what the bundle is asked too.

    Raises:
        StoreError: the cluster refuses, or its model answers otherwise than the bundle.
    """
    from ..encoder import SparseEncoder
    from ..engine import PlacementRequest
    from .client import connect, explained
    from .ml import ask_model, deploy_model, find_model, register_model

    client = connect(url, connection)
    with explained(url):
        there = find_model(client, registration)
        model_id = there or register_model(client, path, registration)
        deploy_model(client, model_id)
        (answer,) = ask_model(client, model_id, [QUESTION])
    with SparseEncoder.from_bundle(bundle, PlacementRequest("cpu", variant)) as encoder:
        special = {encoder.tokens[i] for i in encoder.manifest.special_token_ids}  # the plugin leaves them out
        vector = encoder.to_tokens(encoder.encode_document(QUESTION))
    own = {token: weight for token, weight in vector.items() if token not in special}
    furthest = distance(answer, own)
    if furthest > CLOSE:
        raise StoreError(
            f"the cluster's model {model_id} is {furthest:.4f} off the bundle in a weight of {QUESTION!r}: "
            "do not use it; is its ONNX Runtime another one?"
        )
    heaviest = ", ".join(f"{token} {weight:.3f}" for token, weight in sorted(answer.items(), key=lambda e: -e[1])[:3])
    was = ", which was there already" if there else ""
    return f"model_id {model_id}{was}: deployed, and answers {QUESTION!r} as the bundle does ({heaviest}, ...)"


def distance(a: Mapping[str, float], b: Mapping[str, float]) -> float:
    """The largest difference of a weight between two vectors, `{token: weight}`."""
    return max((abs(a.get(token, 0.0) - b.get(token, 0.0)) for token in {*a, *b}), default=0.0)
