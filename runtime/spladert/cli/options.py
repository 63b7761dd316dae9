"""The options that several commands share, declared once, and what they ask for."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..bundle import Bundle, open_bundle
from ..engine import Device, PlacementRequest, RuntimeOptions, make_request
from ..engine.base import ISAS
from ..engine.placement import DEVICES
from ..errors import BundleError
from .terminal import is_unicode

if TYPE_CHECKING:
    from rich.console import Console

    from ..encoder import SparseEncoder

Decorator = Callable[[Callable[..., None]], Callable[..., None]]


@dataclass(frozen=True)
class Runtime:
    """How a bundle is loaded and run, as `load_options` and `runtime_options` declare it."""

    revision: str | None
    device: Device
    variant: str | None
    threads: int | None
    spin: bool
    isa: str | None = None
    batch_size: int = 32

    def load(self, bundle: str | None) -> SparseEncoder:
        """The encoder over `bundle`, None the one that comes with the package."""
        from ..encoder import SparseEncoder

        return SparseEncoder.from_bundle(self.open(bundle), self.request(), self.options())

    def load_maker(self, bundle: str | None, maker: tuple[str | None, str | None]) -> SparseEncoder:
        """The encoder over `bundle`; None is `maker`, the bundle and revision that an index was made with."""
        made_with, revision = maker
        if bundle is not None or made_with is None:
            return self.load(bundle)
        try:
            return dataclasses.replace(self, revision=self.revision or revision).load(made_with)
        except BundleError as error:
            raise BundleError(f"{error} (the index was made with it; --model says where it is now)") from None

    def open(self, bundle: str | None) -> Bundle:
        """`bundle`, without what runs it."""
        return open_bundle(bundle, revision=self.revision)

    def request(self) -> PlacementRequest:
        """Where it is to run, and with which variant."""
        return make_request(self.device, self.variant, None)

    def options(self) -> RuntimeOptions:
        """How it is to run there."""
        return RuntimeOptions(self.threads, self.spin, self.isa)


def only_one(context: click.Context, option: click.Parameter, values: tuple[Any, ...]) -> Any:
    """The value of an option that is declared `multiple`, None without one.

    click by itself would keep the last of several without a word.
    """
    if len(values) > 1:
        raise click.BadParameter(f"is there {len(values)} times ({', '.join(map(str, values))}); give one")
    return values[0] if values else None


revision_option = click.option("--revision", metavar="R", help="Branch, tag or commit, where the bundle is a hub id.")
variant_option = click.option(
    "--variant",
    "--precision",
    "variant",
    multiple=True,
    callback=only_one,
    metavar="V",
    help="A variant of the bundle (cpu-int8), or its precision (int8). [default: the device's best]",
)


def runtime_options(command: Callable[..., None]) -> Callable[..., None]:
    """`load_options` and --batch-size, given to `command` as one `runtime`."""
    batch_size = click.option(
        "--batch-size",
        type=click.IntRange(min=1),
        default=Runtime.batch_size,
        show_default=True,
        metavar="N",
        help="The most texts of a batch.",
    )
    return load_options(command, batch_size)


def load_options(command: Callable[..., None], *more: Decorator) -> Callable[..., None]:
    """--revision, --device, --variant, --threads, --no-spin and --isa, given to `command` as one `runtime`.

    `more` are options of further fields of `Runtime`.
    """

    @functools.wraps(command)
    def with_runtime(**arguments: Any) -> None:
        given = {field.name for field in fields(Runtime)} & arguments.keys()
        command(**{name: arguments.pop(name) for name in arguments.keys() - given}, runtime=Runtime(**arguments))

    options: list[Decorator] = [
        revision_option,
        click.option(
            "--device",
            type=click.Choice(DEVICES),
            default="auto",
            show_default=True,
            help="auto takes CUDA where it can run.",
        ),
        variant_option,
        click.option(
            "--threads", type=click.IntRange(min=1), metavar="N", help="Threads of a batch. [default: all cores]"
        ),
        click.option(
            "--spin/--no-spin", default=True, help="Threads spin while they wait: not where others share the cores."
        ),
        click.option(
            "--isa",
            type=click.Choice(ISAS),
            help="Of the compiled engine, for cpu-int8; onnx is ONNX Runtime instead. [default: the best here]",
        ),
        *more,
    ]
    decorated: Callable[..., None] = with_runtime
    for option in reversed(options):
        decorated = option(decorated)
    return decorated


def json_option(command: Callable[..., None]) -> Callable[..., None]:
    """--json FILE, given to `command` as `json_path`; see `wants_json_only` and `write_json`."""
    return click.option(
        "--json",
        "json_path",
        type=click.Path(path_type=Path, dir_okay=False, writable=True, allow_dash=True),
        callback=_in_a_folder,
        metavar="FILE",
        help="Write the facts here as JSON too; - prints JSON instead of the tables.",
    )(command)


def _in_a_folder(context: click.Context, option: click.Parameter, path: Path | None) -> Path | None:
    """A file that can be written, said before the work and not after it."""
    if path is not None and str(path) != "-" and not os.access(path.parent, os.W_OK):
        raise click.BadParameter(f"there is no folder {path.parent} that can be written to")
    return path


def write_json(content: object, json_path: Path | None) -> bool:
    """Write `content` where --json says, if it was given; whether that was standard output, so that no table is due."""
    if json_path is None:
        return False
    if str(json_path) == "-":
        click.echo(json.dumps(content, ensure_ascii=not is_unicode(sys.stdout), indent=2))
        return True
    text = json.dumps(content, ensure_ascii=False, indent=2)
    json_path.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")  # a path may have lone surrogates
    return False


def stderr_console() -> Console:
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def connection_options(command: Callable[..., None]) -> Callable[..., None]:
    """How a store is reached: --ca and its like, given to `command` as one `connection`."""
    from ..stores import Connection

    @functools.wraps(command)
    def with_connection(**arguments: Any) -> None:
        connection = Connection(**{field.name: arguments.pop(field.name) for field in fields(Connection)})
        command(**arguments, connection=connection)

    file = click.Path(path_type=Path, dir_okay=False)
    options = [
        click.option("--ca", type=file, metavar="FILE", help="Store: trust these certificates, not the system's."),
        click.option("--client-cert", type=file, metavar="FILE", help="Store: one's own certificate."),
        click.option("--client-key", type=file, metavar="FILE", help="Store: the key of that certificate."),
        click.option("--insecure", is_flag=True, help="Store: do NOT check its certificate. For tests only."),
        click.option(
            "--aws", metavar="es|aoss", help="Store: sign requests, for managed (es) or serverless (aoss) domains."
        ),
        click.option(
            "--timeout",
            type=click.FloatRange(min=0, min_open=True),
            default=60.0,
            show_default=True,
            metavar="S",
            help="Store: seconds that a request may take.",
        ),
    ]
    for option in reversed(options):
        with_connection = option(with_connection)
    return with_connection
