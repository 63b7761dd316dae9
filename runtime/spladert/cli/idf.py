"""`spladert idf`: a bundle whose queries need no model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from ..bundle import open_bundle
from ..counting import counted
from ..errors import InputError
from ..files import BadRecord, Fields, format_of, open_input, read_records
from ..files.readers import INPUT_FORMATS
from ..idf import inverse_document_frequencies, with_query_table
from .options import json_option, revision_option, write_json


@click.command("idf")
@click.argument("corpus")
@click.argument("bundle")
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--input-format", type=click.Choice(list(INPUT_FORMATS)), help="[default: by the file's ending]")
@click.option(
    "--field",
    "text_fields",
    multiple=True,
    default=("text",),
    show_default=True,
    metavar="NAME",
    help="The text's field or column; of several, the texts are joined by a space.",
)
@revision_option
@json_option
def idf_command(
    corpus: str,
    bundle: str,
    out: Path,
    input_format: str | None,
    text_fields: tuple[str, ...],
    revision: str | None,
    json_path: Path | None,
) -> None:
    """Copy BUNDLE to OUT with a table of weights for queries, counted in CORPUS.

    A query of OUT is its tokens, each with the weight of how few documents of CORPUS have it; the model runs for
    documents alone. CORPUS is a file as `encode --input` takes it. BUNDLE stays as it is.
    """
    opened = open_bundle(bundle, revision=revision)
    if out.exists():
        raise InputError(f"{out} exists; choose another folder")
    if out.resolve().is_relative_to(Path(opened.path).resolve()):
        raise InputError(f"{out} is in the bundle {opened.path}, which stays as it is; choose a folder outside of it")
    with open_input(corpus) as source:
        records = read_records(source.stream, input_format or format_of(corpus), Fields(text_fields, None))

        def texts() -> Iterator[str]:
            for record in records:
                if isinstance(record, BadRecord):
                    raise InputError(f"line {record.line}: {record.error}")
                yield record.text

        weights, documents = inverse_document_frequencies(texts(), opened)
    with_query_table(opened, weights, out)
    facts = {"path": str(out), "documents": documents}
    if not write_json(facts, json_path):
        click.echo(f"{counted(documents, 'document')}; {out} looks its queries up", err=True)
