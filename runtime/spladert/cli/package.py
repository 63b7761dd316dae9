"""`spladert package`: a bundle made ready for another program, one row of a table a target."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from ..bundle import Bundle, open_bundle
from ..errors import DependencyError
from ..stores import Connection
from .options import connection_options, json_option, only_one, revision_option, write_json


@dataclass(frozen=True)
class Target:
    """What a bundle is made ready for.

    Attributes:
        function: "module:function", called with the bundle, the folder to write and the options that were given; it
            returns lines to print.
        requirement: what brings its packages.
        needed, optional: names of the command's options that it takes.
    """

    function: str
    requirement: str
    needed: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()

    def load(self) -> Callable[..., list[str]]:
        module, _, name = self.function.partition(":")
        try:
            found: Callable[..., list[str]] = getattr(importlib.import_module(module), name)
        except DependencyError:
            raise
        except ImportError as error:
            raise DependencyError(
                f"this target needs more packages ({error}): pip install '{self.requirement}'"
            ) from error
        return found


TARGETS = {
    "opensearch-ml": Target(
        "spladert.opensearch.ml_package:package_ml",
        "spladert[cpu,export,opensearch]",
        needed=("connection",),
        optional=("variant", "name", "register"),
    ),
    "opensearch-connector": Target(
        "spladert.opensearch.connector:package_connector",
        "spladert[opensearch]",
        needed=("server", "connection"),
        optional=("register", "server_here", "name", "field", "kind", "batch_size", "api_key"),
    ),
    "triton": Target(
        "spladert_export.package.triton:package_triton",
        "spladert[cpu,export]",
        optional=("variant", "name", "batch_size"),
    ),
}


@click.command("package")
@click.argument("bundle", required=False)
@click.option("--target", required=True, type=click.Choice(list(TARGETS)), help="What for.")
@click.option(
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    metavar="WHERE",
    help="Written here: a file of opensearch-ml, else a folder.",
)
@revision_option
@click.option("--server", metavar="URL", help="opensearch-connector: the server, as the cluster reaches it.")
@click.option(
    "--register",
    metavar="CLUSTER",
    help="Create it there too: opensearch-ml at opensearch://HOST:PORT, opensearch-connector at ...:PORT/INDEX.",
)
@click.option(
    "--server-here",
    metavar="URL",
    help="opensearch-connector: the same server as this machine reaches it, asked before --register. "
    "[default: --server]",
)
@click.option("--api-key", envvar="SPLADERT_API_KEY", metavar="KEY", help="opensearch-connector: of the server.")
@click.option("--field", metavar="NAME", help="opensearch-connector: the vectors' field. [default: sparse]")
@click.option(
    "--kind", type=click.Choice(["rank_features", "sparse_vector"]), help="opensearch-connector: of the field."
)
@click.option("--name", metavar="NAME", help="Of the models and pipelines, or of Triton's model. [default: spladert]")
@click.option("--batch-size", type=click.IntRange(min=1), metavar="N", help="Most texts of a call or batch.")
@click.option(
    "--variant",
    multiple=True,
    callback=only_one,
    metavar="V",
    help="opensearch-ml, triton: the graph. [default: the bundle's first]",
)
@json_option
@connection_options
def package_command(
    bundle: str | None,
    target: str,
    output: Path,
    revision: str | None,
    json_path: Path | None,
    connection: Connection,
    **options: Any,
) -> None:
    """Make BUNDLE (a folder or a hub id; none means the one that comes with spladert) ready for another program.

    opensearch-ml writes a zip for the ML plugin of OpenSearch, by which the model runs inside the cluster, and beside
    it the body that registers it. The variant is int8 or fp32.

    opensearch-connector writes the bodies with which a cluster encodes by itself through `spladert serve`.

    triton writes a model repository for the Triton inference server; clients send it token ids.
    """
    if str(output) == "-":
        raise click.UsageError(
            "--output - would be standard output, but several files are written: name a file or folder"
        )
    chosen = TARGETS[target]
    given = {name: value for name, value in options.items() if value is not None}
    if "api_key" not in chosen.optional:
        given.pop("api_key", None)  # it may stand in the environment for other commands
    if "connection" in chosen.needed:
        given["connection"] = connection
    for name in given:
        if name not in (*chosen.needed, *chosen.optional):
            raise click.UsageError(f"--{name.replace('_', '-')} is not for --target {target}; leave it out")
    for name in chosen.needed:
        if name not in given:
            raise click.UsageError(f"--target {target} needs --{name.replace('_', '-')}")
    opened: Bundle = open_bundle(bundle, revision=revision)
    lines = chosen.load()(opened, output, **given)
    facts = {"bundle": str(opened.path), "target": target, "output": str(output), "made": lines}
    if not write_json(facts, json_path):
        for line in lines:
            click.echo(line)
