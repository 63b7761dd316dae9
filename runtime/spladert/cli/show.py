"""Vectors for reading: a text's heaviest tokens as a list with bars, on a terminal."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from ..counting import counted, counted_were
from ..encoder import SparseEncoder
from ..files import Encoding
from .terminal import stdout_console

SHOWN = 15  # tokens of a text
BAR_WIDTH = 24


def show_vectors(encoder: SparseEncoder, texts: Sequence[str], encoding: Encoding) -> None:
    """Each text with its heaviest tokens and their weights."""
    from rich.table import Table
    from rich.text import Text

    console = stdout_console()
    block = "#" if console.options.ascii_only else "█"
    how = {field.name: getattr(encoding, field.name) for field in dataclasses.fields(encoding)}
    vectors = encoder.encode(list(texts), **how)
    for position, (text, vector) in enumerate(zip(texts, vectors, strict=True)):
        shown = encoder.decode(vector, top_k=encoding.top_k or SHOWN)
        heaviest = max((weight for _, weight in shown), default=1.0)
        table = Table(box=None, show_header=False, pad_edge=False)
        for token, weight in shown:
            bar = block * max(round(BAR_WIDTH * weight / heaviest), 1)
            table.add_row(f"{weight:7.4f}", Text(bar, style="cyan"), Text(token))
        if position:
            console.print()
        console.print(Text(text, style="bold"), Text(counted(len(vector), "dimension"), style="dim"))
        console.print(table)
        if len(vector) > len(shown):
            console.print(Text(f"        and {len(vector) - len(shown)} lighter ones", style="dim"))
    if vectors.truncated:
        console.print(Text(truncation(vectors.truncated, encoder, encoding), style="yellow"))


def truncation(count: int, encoder: SparseEncoder, encoding: Encoding, unread: float | None = None) -> str:
    """How many texts were cut, in words, and the share of them that was not read."""
    length = encoder.tokenizer.length(encoding.side, encoding.max_length)
    line = f"{counted_were(count, 'text')} longer than {length} tokens and cut"
    return line if unread is None else f"{line}: about {unread:.0%} was not read (--passages reads all)"
