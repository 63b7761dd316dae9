"""The options that several commands share, declared once, and what they ask for."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..engine.base import ISAS
from ..engine.placement import DEVICES

if TYPE_CHECKING:
    from rich.console import Console

    from ..encoder import SparseEncoder
    from ..engine import Device


@dataclass(frozen=True)
class Runtime:
    """How a bundle is loaded and run, as `runtime_options` declares it."""

    revision: str | None
    device: Device
    variant: str | None
    threads: int | None
    spin: bool
    isa: str | None
    batch_size: int

    def load(self, bundle: str | None) -> SparseEncoder:
        """The encoder over `bundle`, None the one that comes with the package."""
        from ..encoder import SparseEncoder

        return SparseEncoder.load(
            bundle,
            revision=self.revision,
            device=self.device,
            variant=self.variant,
            threads=self.threads,
            spin=self.spin,
            isa=self.isa,
        )


revision_option = click.option("--revision", metavar="R", help="Branch, tag or commit, where the bundle is a hub id.")
variant_option = click.option(
    "--variant",
    "--precision",
    "variant",
    metavar="V",
    help="A variant of the bundle (cpu-int8), or its precision (int8). [default: the device's best]",
)


def runtime_options(command: Callable[..., None]) -> Callable[..., None]:
    """Options of loading and running a bundle, from --revision to --batch-size, given to `command` as one `runtime`."""

    @functools.wraps(command)
    def with_runtime(**arguments: Any) -> None:
        runtime = Runtime(**{field.name: arguments.pop(field.name) for field in fields(Runtime)})
        command(**arguments, runtime=runtime)

    options = [
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
        click.option(
            "--batch-size",
            type=click.IntRange(min=1),
            default=32,
            show_default=True,
            metavar="N",
            help="The most texts of a batch.",
        ),
    ]
    for option in reversed(options):
        with_runtime = option(with_runtime)
    return with_runtime


def json_option(command: Callable[..., None]) -> Callable[..., None]:
    """--json FILE, given to `command` as `json_path`; see `wants_json_only` and `write_json`."""
    return click.option(
        "--json",
        "json_path",
        type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
        metavar="FILE",
        help="Write the facts here as JSON too; - prints JSON instead of the tables.",
    )(command)


def write_json(content: object, json_path: Path | None) -> bool:
    """Write `content` where --json says, if it was given; whether that was standard output, so that no table is due."""
    if json_path is None:
        return False
    text = json.dumps(content, ensure_ascii=False, indent=2)
    if str(json_path) == "-":
        click.echo(text)
        return True
    json_path.write_text(text + "\n", encoding="utf-8")
    return False


def stderr_console() -> Console:
    from rich.console import Console

    return Console(stderr=True, highlight=False)
