"""`spladert search`: a question to an index of vectors."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import click

from ..errors import InputError
from ..files.lines import read_lines
from ..files.readers import MAX_LINE_BYTES
from ..files.records import UnreadableError
from ..stores import MOST, Answer, Connection, Hit, How, open_searcher
from .options import Runtime, connection_options, json_option, runtime_options, write_json
from .terminal import is_unicode, stdout_console

SHOWN = 4  # tokens of a hit
SNIPPET = 160  # characters
MARKS = ("##", "▁", "Ġ")  # how tokenizers mark a token's place in a word


@click.command("search")
@click.argument("where", metavar="WHERE")
@click.argument("question", required=False)
@click.option("--model", metavar="BUNDLE", help="Bundle folder or hub id. [default: what the index says made it]")
@click.option("--top", type=click.IntRange(1, MOST), default=10, show_default=True, metavar="N", help="Hits wanted.")
@click.option("--hybrid", is_flag=True, help="Blend with BM25 over the text.")
@click.option(
    "--filter",
    "filters",
    multiple=True,
    metavar="FIELD=VALUE",
    help="Only documents whose field has the value; of several, all.",
)
@json_option
@connection_options
@runtime_options
def search_command(
    where: str,
    question: str | None,
    model: str | None,
    top: int,
    hybrid: bool,
    filters: tuple[str, ...],
    json_path: Path | None,
    connection: Connection,
    runtime: Runtime,
) -> None:
    """Ask the index at WHERE a QUESTION; without one, ask for questions, a line each.

    WHERE is a folder that `spladert index` made, or a store, opensearch://HOST:PORT/INDEX?field=NAME, qdrant://,
    milvus:// or postgresql://.

    Each hit comes with the tokens that made its score: the question's weight times the document's. Of a document in
    passages the best one is shown.
    """
    chosen = _filters(filters)
    if question is None and json_path is not None and str(json_path) != "-":
        raise click.UsageError("--json FILE is for one question: give it, or take --json - for a line of JSON each")
    with open_searcher(where, connection) as searcher, runtime.load_maker(model, searcher.model) as encoder:
        ask = functools.partial(searcher.search, encoder, how=How(top, hybrid, chosen))
        if question is not None:
            answer = ask(question)
            if not write_json(_facts(answer), json_path):
                _show(answer)
            return
        for line in _questions():
            _answer(ask, line, as_json=json_path is not None)


def _filters(given: tuple[str, ...]) -> dict[str, str]:
    filters: dict[str, str] = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not equals or not name:
            raise click.UsageError(f"--filter {each!r} names no value; write FIELD=VALUE")
        if filters.setdefault(name, value) != value:
            raise click.UsageError(f"--filter asks for two values of {name!r}; give one")
    return filters


def _questions() -> Iterator[str]:
    """The lines that are typed, or those of standard input."""
    if sys.stdin is None:
        raise InputError("standard input is closed; give a QUESTION, or open it")
    for line in _typed() if sys.stdin.isatty() else _piped(sys.stdin.buffer):
        if line.strip():
            yield line.strip()


def _typed() -> Iterator[str]:
    while True:
        try:
            yield input("question> ")
        except EOFError:
            return
        except UnicodeDecodeError as error:
            click.echo(f"error: the line is not valid {error.encoding}; ask again", err=True)


def _piped(stream: IO[bytes]) -> Iterator[str]:
    for line in read_lines(stream, MAX_LINE_BYTES, "standard input"):
        try:
            yield line.text()
        except UnreadableError as error:
            click.echo(f"error: line {line.number}: {error}", err=True)


def _answer(ask: Callable[[str], Answer], question: str, *, as_json: bool) -> None:
    """Answer one of several questions; what is wrong with it ends nothing."""
    try:
        answer = ask(question)
    except InputError as error:
        click.echo(f"error: {error}", err=True)
        return
    if as_json:
        line = {"question": question, **_facts(answer)}
        click.echo(json.dumps(line, ensure_ascii=not is_unicode(sys.stdout)))
    else:
        _show(answer)


def _facts(answer: Answer) -> dict[str, Any]:
    hits = [
        {
            "id": hit.id,
            "score": hit.score,
            "text": hit.text,
            "fields": hit.fields,
            "passage": hit.passage,
            "tokens": [{**match._asdict(), "product": match.product} for match in hit.matches],
        }
        for hit in answer.hits
    ]
    return {"hits": hits, "lost_entries": answer.lost_entries, "lost_share": answer.lost_share}


def _show(answer: Answer) -> None:
    from rich.table import Table
    from rich.text import Text

    if answer.lost_entries:
        click.echo(
            f"{answer.lost_entries} tokens of the question have no number in this index and were left out, "
            f"{answer.lost_share:.1%} of its weight",
            err=True,
        )
    if not answer.hits:
        click.echo("nothing found", err=True)
        return
    table = Table(box=None, pad_edge=False)
    for name in ("score", "id", "tokens", "text"):
        # "fold": rich counts the letters of a line that it wraps, not its cells, and would cut wide ones off.
        table.add_column(name, justify="right" if name == "score" else "left", vertical="top", overflow="fold")
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
