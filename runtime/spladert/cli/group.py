"""A click group that imports its commands late and turns errors into one line and an exit code.

Exit codes: 0 done, 1 an error, 2 wrong usage, 3 done but for what was left out (an export's variants that lose too
much, documents that could not be taken where nobody said --skip-errors), 130 interrupted, 141 the reader of the output
went away.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import click
from click.exceptions import Exit

from ..errors import DependencyError, SpladertError
from ..version import __version__
from .terminal import drop_output, prepare_output

SOME_LEFT_OUT = 3
INTERRUPTED = 130  # 128 + SIGINT
CLOSED_PIPE = 141  # 128 + SIGPIPE


@dataclass(frozen=True)
class Command:
    """Where a command is: its module, the name there, a line of help, and the requirement that brings its packages."""

    module: str
    attribute: str
    help: str
    requirement: str = "spladert[cpu]"


class CommandGroup(click.Group):
    """`lazy` maps each command's name to where it is."""

    def __init__(self, name: str, lazy: Mapping[str, Command], help: str) -> None:
        super().__init__(name, help=help, no_args_is_help=True)
        self._lazy = dict(lazy)
        click.version_option(__version__, prog_name=name)(self)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self._lazy:
            return None
        command = self._lazy[cmd_name]
        try:
            found = getattr(importlib.import_module(command.module), command.attribute)
        except DependencyError:
            raise
        except ImportError as error:
            raise DependencyError(
                f"{cmd_name} needs more packages ({error}): pip install '{command.requirement}'"
            ) from error
        assert isinstance(found, click.Command)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.help) for name, command in self._lazy.items()])

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        prepare_output()
        with _one_line_errors():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        with _one_line_errors():
            super().invoke(ctx)
            sys.stdout.flush()


@contextmanager
def _one_line_errors() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        click.echo("interrupted", err=True)
        raise Exit(INTERRUPTED) from None
    except BrokenPipeError:
        drop_output()
        raise Exit(CLOSED_PIPE) from None
    except (SpladertError, OSError) as error:  # among the latter a full disk, a file without permission
        drop_output()
        click.echo(f"error: {error}", err=True)
        raise Exit(1) from None
