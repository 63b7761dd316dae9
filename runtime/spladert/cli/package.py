"""`spladert package`: a bundle as another server takes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..bundle import open_bundle
from ..errors import StoreError
from ..stores import Connection, StoreUrl, parse_store_url
from .options import connection_options, revision_option, variant_option

if TYPE_CHECKING:
    from ..bundle import Bundle

QUESTION = "당뇨병 치료"
CLOSE = 1e-3  # between the cluster's ONNX Runtime and ours, which sum in another order


@dataclass(frozen=True)
class Order:
    """What is asked of a target: the file, the variant, the name, and the cluster to register it in."""

    out: Path | None
    variant: str | None
    name: str | None
    register: str | None
    connection: Connection


def _opensearch_ml(bundle: Bundle, order: Order) -> None:
    from spladert_export.package.opensearch_ml import package_for_opensearch

    url = None if order.register is None else parse_store_url(order.register, named=False)
    made = package_for_opensearch(
        bundle, order.out or Path("opensearch-ml.zip"), variant=order.variant, name=order.name
    )
    size = made.path.stat().st_size / 1e6
    click.echo(f"{made.path}: {made.variant}, {size:.1f} MB; its registration is {made.path}.json")
    if url is not None:
        click.echo(_register(bundle, url, order.connection, made.path, made.registration, made.variant))


def _register(
    bundle: Bundle, url: StoreUrl, connection: Connection, path: Path, registration: dict[str, object], variant: str
) -> str:
    """Register and deploy the zip, and ask it what the bundle is asked too.

    Raises:
        StoreError: the cluster refuses, or its model answers otherwise than the bundle.
    """
    from ..encoder import SparseEncoder
    from ..engine import PlacementRequest
    from ..opensearch.client import connect, explained
    from ..opensearch.ml import ask_model, deploy_model, register_model

    client = connect(url, connection)
    with explained(url):
        model_id = register_model(client, path, registration)
        deploy_model(client, model_id)
        (answer,) = ask_model(client, model_id, [QUESTION])
    with SparseEncoder.from_bundle(bundle, PlacementRequest("cpu", variant)) as encoder:
        own = encoder.to_tokens(encoder.encode_document(QUESTION))
    furthest = max(abs(answer.get(token, 0.0) - own.get(token, 0.0)) for token in {*answer, *own})
    if furthest > CLOSE:
        raise StoreError(
            f"the cluster's model {model_id} is {furthest:.4f} off the bundle in a weight of {QUESTION!r}: "
            "do not use it; is its ONNX Runtime another one?"
        )
    heaviest = ", ".join(f"{token} {weight:.3f}" for token, weight in sorted(answer.items(), key=lambda e: -e[1])[:3])
    return f"model_id {model_id}: deployed, and answers {QUESTION!r} as the bundle does ({heaviest}, ...)"


TARGETS: dict[str, Callable[[Bundle, Order], None]] = {"opensearch-ml": _opensearch_ml}


@click.command("package")
@click.argument("bundle", required=False)
@click.option("--target", required=True, type=click.Choice(list(TARGETS)), help="Who is to take it.")
@click.option(
    "--output", "out", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="[default: TARGET.zip]"
)
@click.option("--name", metavar="NAME", help="The model's name there. [default: the checkpoint's and the variant's]")
@click.option(
    "--register",
    metavar="URL",
    help="Upload it to this cluster, opensearch://HOST:PORT, deploy it there and ask it one question.",
)
@variant_option
@revision_option
@connection_options
def package_command(
    bundle: str | None,
    target: str,
    out: Path | None,
    name: str | None,
    register: str | None,
    variant: str | None,
    revision: str | None,
    connection: Connection,
) -> None:
    """Make of BUNDLE, by default the one that comes with spladert, what another server takes.

    opensearch-ml: a zip for the ML plugin of OpenSearch, by which the model runs inside the cluster, and beside it the
    body that registers it. The variant is int8 or fp32.
    """
    TARGETS[target](open_bundle(bundle, revision=revision), Order(out, variant, name, register, connection))
