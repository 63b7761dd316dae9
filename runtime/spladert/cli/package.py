"""`spladert package`: a bundle as another server takes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from ..bundle import open_bundle
from ..errors import StoreError
from ..opensearch.index import Kind
from ..stores import Connection, StoreUrl, parse_store_url
from .options import connection_options, revision_option, variant_option

if TYPE_CHECKING:
    from ..bundle import Bundle

QUESTION = "당뇨병 치료"
CLOSE = 1e-3  # between the cluster's ONNX Runtime and ours, which sum in another order


@dataclass(frozen=True)
class Order:
    """What is asked of a target; None is its own choice.

    Attributes:
        out: the file or folder to write.
        variant: of the bundle.
        name: of the model there.
        register: URL of the cluster to create it in too.
        server: URL of the server that a cluster calls.
        api_key: of that server.
        field, kind: of the vectors in an index.
        batch_size: the most texts of a call or batch.
        connection: how the cluster is reached.
    """

    out: Path | None
    variant: str | None
    name: str | None
    register: str | None
    server: str | None
    api_key: str | None
    field: str | None
    kind: str | None
    batch_size: int | None
    connection: Connection

    def given(self, *names: str) -> dict[str, Any]:
        """Those of the attributes that are not None."""
        return {name: value for name in names if (value := getattr(self, name)) is not None}


@dataclass(frozen=True)
class Target:
    """What takes a bundle.

    Attributes:
        run: makes what it takes.
        takes: the options that mean something to it, besides --output and --name.
        needs: those of them that it cannot do without.
    """

    run: Callable[[Bundle, Order], None]
    takes: frozenset[str]
    needs: frozenset[str] = frozenset()


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


def _opensearch_connector(bundle: Bundle, order: Order) -> None:
    from ..opensearch.connector import Remote, register_remote, write_bodies

    assert order.server is not None
    remote = Remote(order.server, **order.given("name", "field", "kind", "batch_size"))
    url = None if order.register is None else parse_store_url(order.register)
    for path in write_bodies(bundle, order.out or Path("opensearch-connector"), remote):
        click.echo(str(path))
    if url is not None:
        for what, name in register_remote(bundle, url, remote, order.api_key, order.connection).items():
            click.echo(f"created {what.replace('_', ' ')} {name}")


def _triton(bundle: Bundle, order: Order) -> None:
    from spladert_export.package.triton import package_triton

    for path in package_triton(bundle, order.out or Path("triton"), **order.given("variant", "name", "batch_size")):
        click.echo(str(path))


TARGETS = {
    "opensearch-ml": Target(_opensearch_ml, frozenset({"variant", "register"})),
    "opensearch-connector": Target(
        _opensearch_connector,
        frozenset({"server", "register", "api_key", "field", "kind", "batch_size"}),
        needs=frozenset({"server"}),
    ),
    "triton": Target(_triton, frozenset({"variant", "batch_size"})),
}
OPTIONAL = ("variant", "register", "server", "field", "kind", "batch_size")  # the key may stand in the environment


@click.command("package")
@click.argument("bundle", required=False)
@click.option("--target", required=True, type=click.Choice(list(TARGETS)), help="Who is to take it.")
@click.option(
    "--output",
    "out",
    type=click.Path(path_type=Path),
    metavar="WHERE",
    help="A file for opensearch-ml, else a folder. [default: TARGET.zip, or TARGET]",
)
@click.option("--name", metavar="NAME", help="The model's name there. [default: its checkpoint's, or spladert]")
@click.option(
    "--register",
    metavar="URL",
    help="Create it in this cluster too: opensearch://HOST:PORT, for opensearch-connector with /INDEX.",
)
@click.option("--server", metavar="URL", help="Of `spladert serve`, as the cluster reaches it.")
@click.option("--api-key", envvar="SPLADERT_API_KEY", metavar="KEY", help="Of that server.")
@click.option("--field", metavar="NAME", help="The vectors' field. [default: sparse]")
@click.option("--kind", type=click.Choice(get_args(Kind)), help="Of the field. [default: rank_features]")
@click.option("--batch-size", type=click.IntRange(min=1), metavar="N", help="Most texts of a call, or of a batch.")
@variant_option
@revision_option
@connection_options
def package_command(bundle: str | None, target: str, revision: str | None, **asked: Any) -> None:
    """Make of BUNDLE, by default the one that comes with spladert, what another server takes.

    opensearch-ml: a zip for the ML plugin of OpenSearch, by which the model runs inside the cluster, and beside it the
    body that registers it. The variant is int8 or fp32.

    opensearch-connector: the bodies by which a cluster's own processors encode through `spladert serve`.

    triton: a model repository for the Triton inference server, which takes token ids.
    """
    order, chosen = Order(**asked), TARGETS[target]
    given = order.given(*OPTIONAL)
    for name in given.keys() - chosen.takes:
        raise click.UsageError(f"--{name.replace('_', '-')} is not for --target {target}; leave it out")
    for name in chosen.needs - given.keys():
        raise click.UsageError(f"--target {target} needs --{name.replace('_', '-')}")
    chosen.run(open_bundle(bundle, revision=revision), order)
