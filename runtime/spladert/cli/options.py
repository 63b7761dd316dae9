"""The options that several commands share, declared once, and the loading they ask for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar, get_args

import click

from ..session import Device

if TYPE_CHECKING:
    from rich.console import Console

F = TypeVar("F", bound=Callable[..., object])


def runtime_options(command: F) -> F:
    """--revision, --device, --precision, --threads and --batch-size."""
    for option in reversed(
        [
            click.option("--revision", metavar="R", help="Branch, tag or commit, where the bundle is a hub id."),
            click.option(
                "--device",
                type=click.Choice(get_args(Device)),
                default="auto",
                show_default=True,
                help="auto takes CUDA where it can run.",
            ),
            click.option("--precision", metavar="P", help="A precision of the bundle. [default: the device's best]"),
            click.option(
                "--threads", type=click.IntRange(min=1), metavar="N", help="Threads of a run. [default: all cores]"
            ),
            click.option(
                "--batch-size",
                type=click.IntRange(min=1),
                default=32,
                show_default=True,
                metavar="N",
                help="The most texts of a run of the model.",
            ),
        ]
    ):
        command = option(command)
    return command


def stderr_console() -> Console:
    from rich.console import Console

    return Console(stderr=True, highlight=False)
