"""The options of `spladert encode` that change a vector."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, get_args

import click

from ..files import Encoding
from ..pruning import Pruning
from ..tokenizer import Side


def encoding_options(command: Callable[..., None]) -> Callable[..., None]:
    """Options of what a vector is made of, given to `command` as one `encoding`."""

    @functools.wraps(command)
    def with_encoding(prune: str | None, **arguments: Any) -> None:
        rest = {
            field.name: arguments.pop(field.name) for field in dataclasses.fields(Encoding) if field.name != "prune"
        }
        command(**arguments, encoding=Encoding(prune=None if prune is None else Pruning.parse(prune), **rest))

    options = [
        click.option(
            "--side", type=click.Choice(get_args(Side)), help="Where the bundle tells queries from documents."
        ),
        click.option("--max-length", type=click.IntRange(min=1), metavar="N", help="Cut at fewer tokens."),
        click.option("--split-special-tokens", is_flag=True, help="Read [CLS] and its like as text, whoever wrote it."),
        click.option(
            "--top-k", type=click.IntRange(min=1), metavar="K", help="Keep the K heaviest entries. [default: all]"
        ),
        click.option(
            "--prune",
            metavar="KIND:VALUE",
            help="Leave out light entries: top_k:100, max_ratio:0.1, abs_value:0.2 or alpha_mass:0.9. [default: none]",
        ),
    ]
    decorated: Callable[..., None] = with_encoding
    for option in reversed(options):
        decorated = option(decorated)
    return decorated
