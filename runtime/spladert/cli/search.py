"""`spladert search`: a question to an index of vectors."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import click

from ..errors import InputError
from ..stores import Answer, Connection, Hit, is_store_url, open_searcher, parse_store_url
from .options import Runtime, connection_options, json_option, runtime_options, write_json
from .terminal import stdout_console

SHOWN = 4  # tokens of a hit
SNIPPET = 160  # characters
MARKS = ("##", "▁", "Ġ")  # how tokenizers mark a token's place in a word


@click.command("search")
@click.argument("where", metavar="WHERE")
@click.argument("question")
@click.option("--model", metavar="BUNDLE", help="Bundle folder or hub id. [default: what the index says made it]")
@click.option("--top", type=click.IntRange(1, 10_000), default=10, show_default=True, metavar="N", help="Hits wanted.")
@click.option("--hybrid", is_flag=True, help="Blend with BM25 over the text.")
@json_option
@connection_options
@runtime_options
def search_command(
    where: str,
    question: str,
    model: str | None,
    top: int,
    hybrid: bool,
    json_path: Path | None,
    connection: Connection,
    runtime: Runtime,
) -> None:
    """Ask the index at WHERE, opensearch://HOST:PORT/INDEX?field=NAME, a QUESTION.

    Each hit comes with the tokens that made its score: the question's weight times the document's.
    """
    if not is_store_url(where):
        raise InputError(f"{where!r} is no store's URL; write for example opensearch://HOST:9200/INDEX")
    with open_searcher(parse_store_url(where), connection) as searcher:
        if model is None:
            model, revision = searcher.model
            runtime = dataclasses.replace(runtime, revision=runtime.revision or revision)
        with runtime.load(model) as encoder:
            answer = searcher.search(encoder, question, top=top, hybrid=hybrid)
    if write_json(_facts(answer), json_path):
        return
    if answer.lost_entries:
        click.echo(
            f"{answer.lost_entries} tokens of the question have no number in this index and were left out, "
            f"{answer.lost_share:.1%} of its weight",
            err=True,
        )
    if not answer.hits:
        click.echo("nothing found", err=True)
        return
    _show(answer)


def _facts(answer: Answer) -> dict[str, Any]:
    hits = [
        {
            "id": hit.id,
            "score": hit.score,
            "text": hit.text,
            "tokens": [{**dataclasses.asdict(match), "product": match.product} for match in hit.matches],
        }
        for hit in answer.hits
    ]
    return {"hits": hits, "lost_entries": answer.lost_entries, "lost_share": answer.lost_share}


def _show(answer: Answer) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for name in ("score", "id", "tokens", "text"):
        table.add_column(name, justify="right" if name == "score" else "left", vertical="top")
    for hit in answer.hits:
        tokens = ", ".join(f"{match.token} {match.product:.2f}" for match in hit.matches[:SHOWN])
        more = len(hit.matches) - SHOWN
        tokens += f" and {more} more" if more > 0 else ""
        table.add_row(f"{hit.score:.3f}", Text(hit.id), Text(tokens), Text(snippet(hit)))
    stdout_console().print(table)


def snippet(hit: Hit, size: int = SNIPPET) -> str:
    """A piece of the text around the token that adds most to the score and is there, else its beginning."""
    text = " ".join(hit.text.split())
    begin = 0
    for match in hit.matches:
        token = match.token
        for mark in MARKS:
            token = token.removeprefix(mark)
        at = text.find(token) if token else -1
        if at >= 0:
            begin = max(0, min(at - size // 4, len(text) - size))
            break
    return ("…" if begin else "") + text[begin : begin + size] + ("…" if begin + size < len(text) else "")
