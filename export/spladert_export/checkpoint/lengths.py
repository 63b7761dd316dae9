"""How many tokens a text may have: as asked, else as the checkpoint says, never more than it has positions."""

from __future__ import annotations

from dataclasses import dataclass

from spladert import ExportError

DEFAULT = 64  # tokens; of checkpoints that say nothing

Triple = tuple[int | None, int | None, int | None]  # of a text, of queries alone, of documents alone


@dataclass(frozen=True)
class Lengths:
    """Tokens of a text, special tokens included.

    Attributes:
        max_length: the most of any text, which the graph is made for.
        query: the most of a query, None where it is `max_length`.
        document: the most of a document, None where it is `max_length`.
        usable: how many positions the model has; None where nothing limits it.
    """

    max_length: int = DEFAULT
    query: int | None = None
    document: int | None = None
    usable: int | None = None


def choose_lengths(source: str, *, usable: int | None, special: int, own: Triple, asked: Triple) -> Lengths:
    """The lengths of a bundle.

    Args:
        source: the checkpoint, for messages.
        usable: its positions.
        special: how many special tokens every text has.
        own: what the checkpoint says; more than it has positions means all of them.
        asked: what the export is asked for, which comes first.

    Raises:
        ExportError: a length has no room for a token beside the special ones, or does not fit the positions.
    """
    names = ("max_length", "query_max_length", "document_max_length")
    for name, length in zip(names, asked, strict=True):
        if length is None:
            continue
        if not isinstance(length, int) or isinstance(length, bool) or length < 1:
            raise ExportError(f"{name} is {length!r}; give an integer of at least 1")
        if length <= special:
            raise ExportError(f"{name} {length} leaves no room beside the {special} special tokens of {source}")
        if usable is not None and length > usable:
            raise ExportError(f"{source} has {usable} positions; {name} {length} does not fit")
    most = min((length for length in (asked[0], usable) if length is not None), default=None)

    def fit(length: int) -> int:
        return length if most is None else min(length, most)

    whole = fit(asked[0] or own[0] or DEFAULT)
    query, document = (fit(wanted or said or whole) for wanted, said in zip(asked[1:], own[1:], strict=True))
    for name, wanted in zip(names[1:], asked[1:], strict=True):
        if wanted is not None and asked[0] is not None and wanted > asked[0]:
            raise ExportError(f"{name} {wanted} is more than max_length {asked[0]}")
    longest = asked[0] or max(query, document)
    return Lengths(
        max_length=longest,
        query=None if query == longest else query,
        document=None if document == longest else document,
        usable=usable,
    )
