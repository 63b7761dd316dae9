"""The options of what is read, by `spladert encode` and `spladert index`, and opening it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from ..files import BadRecord, Fields, InputFile, Record, format_of, open_input, read_records
from ..files.readers import INPUT_FORMATS
from ..passages import Passages


def input_options(command: Callable[..., None]) -> Callable[..., None]:
    """--input-format, and --field and --id-field, given to `command` as `input_format` and one `fields`."""

    @functools.wraps(command)
    def with_fields(text_fields: tuple[str, ...], id_field: str | None, **arguments: Any) -> None:
        command(**arguments, fields=Fields(text_fields, id_field))

    options = [
        click.option("--input-format", type=click.Choice(list(INPUT_FORMATS)), help="[default: by the file's ending]"),
        click.option(
            "--field",
            "text_fields",
            multiple=True,
            default=("text",),
            show_default=True,
            metavar="NAME",
            help="The text's field or column; of several, the texts are joined by a space.",
        ),
        click.option(
            "--id-field",
            metavar="NAME",
            help="The id's. [default: _id, id or docid where there, else the line number, in an index or store a hash]",
        ),
    ]
    return _decorated(with_fields, options)


def passage_options(command: Callable[..., None]) -> Callable[..., None]:
    """--passages, --overlap and --max-passages, given to `command` as one `passages`; None does not cut."""

    @functools.wraps(command)
    def with_passages(passages: bool, overlap: int | None, max_passages: int | None, **arguments: Any) -> None:
        if not passages and (overlap is not None or max_passages is not None):
            raise click.UsageError("--overlap and --max-passages are for --passages; add that, or leave them out")
        command(**arguments, passages=Passages(overlap or 0, max_passages) if passages else None)

    options = [
        click.option(
            "--passages",
            is_flag=True,
            help="Cut long documents at sentence ends into passages of the model's length, ID#0, ID#1 and so on.",
        ),
        click.option(
            "--overlap",
            type=click.IntRange(min=0),
            metavar="N",
            help="Tokens that a passage shares with the one before it. [default: 0]",
        ),
        click.option(
            "--max-passages", type=click.IntRange(min=1), metavar="N", help="Passages of a document. [default: all]"
        ),
    ]
    return _decorated(with_passages, options)


def _decorated(
    command: Callable[..., None], options: Sequence[Callable[[Callable[..., None]], Callable[..., None]]]
) -> Callable[..., None]:
    for option in reversed(options):
        command = option(command)
    return command


@contextmanager
def open_records(
    texts: tuple[str, ...], input_path: str | None, input_format: str | None, fields: Fields
) -> Iterator[tuple[Iterator[Record | BadRecord], InputFile | None]]:
    """The records of the command line's texts, or of a file, with that file."""
    if input_path is None:
        yield (Record(n, n, text, numbered=True) for n, text in enumerate(texts, start=1)), None
        return
    kind = input_format or format_of(input_path)
    with open_input(input_path) as source:
        yield read_records(source.stream, kind, fields), source


def input_name(input_path: str | None) -> str:
    """What tells this input from others in the state of a job."""
    return str(Path(input_path).resolve()) if input_path not in (None, "-") else str(input_path)
