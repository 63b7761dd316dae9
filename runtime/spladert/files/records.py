"""Records: texts with their ids, as they are read, and what is wrong with those that cannot be."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

Id = str | int

DEFAULT_ID_FIELDS = ("_id", "id", "docid")
MAX_ID_BYTES = 512  # what OpenSearch takes as a document id
PASSAGE = "_passage"  # the field that says which part of its document a passage is
_NO_FIELDS: Mapping[str, object] = {}


class UnreadableError(Exception):
    """Why a record is bad."""


@dataclass(frozen=True, slots=True)
class Record:
    """A text to encode.

    Attributes:
        line: number of the line (of a parquet file: the row) it begins on, the first is 1.
        id: the input's own, else the line number.
        text: valid Unicode, maybe empty.
        fields: all that the input has under a name, but for the id: the text's own fields too.
        size: bytes that it takes in the input, about.
        numbered: whether the id is the line number, for want of one.
        passage: which part of its document it is; None for a whole one.
    """

    line: int
    id: Id
    text: str
    fields: Mapping[str, object] = field(default_factory=lambda: _NO_FIELDS)
    size: int = field(default=0, compare=False)
    numbered: bool = field(default=False, compare=False)
    passage: Passage | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Passage:
    """A part of a document.

    Attributes:
        whole: the document.
        number: its place among the document's passages, the first is 0.
        begin, end: its characters in the document's text, the last one not included.
    """

    whole: Record
    number: int
    begin: int
    end: int

    def facts(self, document: Id) -> dict[str, Id]:
        """What is kept of it beside its text; `document` is the document's id."""
        return {"document": document, "number": self.number, "begin": self.begin, "end": self.end}


@dataclass(frozen=True, slots=True)
class BadRecord:
    """A record that cannot be read.

    Attributes:
        line: number of the line it begins on.
        error: why.
        raw: its bytes without the line end.
        last: whether nothing behind it can be read, for the input is cut or damaged there.
    """

    line: int
    error: str
    raw: bytes
    last: bool = field(default=False, compare=False)

    @property
    def size(self) -> int:
        return len(self.raw)

    def to_json(self) -> bytes:
        """A line of JSON, `{"line", "error", "raw"}`; bytes that are not UTF-8 are surrogate escapes in `raw`."""
        value = {"line": self.line, "error": self.error, "raw": self.raw.decode("utf-8", "surrogateescape")}
        try:
            return json.dumps(value, ensure_ascii=False).encode("utf-8") + b"\n"
        except UnicodeEncodeError:
            return json.dumps(value).encode("ascii") + b"\n"

    @staticmethod
    def from_json(line: bytes) -> BadRecord:
        value = json.loads(line)
        return BadRecord(value["line"], value["error"], value["raw"].encode("utf-8", "surrogateescape"))


@dataclass(frozen=True)
class Fields:
    """Where a record's parts are.

    Attributes:
        text: names of the text's fields or columns; several are joined by a space, empty ones left out.
        id: name of the id's; None takes `_id`, `id` or `docid`, the first that is there, else the line number.
    """

    text: Sequence[str] = ("text",)
    id: str | None = None

    def id_in(self, names: Mapping[str, object] | Sequence[str]) -> str | None:
        """The name of the id's field among `names`, None if the line number is the id."""
        if self.id is not None:
            return self.id
        return next((name for name in DEFAULT_ID_FIELDS if name in names and name not in self.text), None)

    def text_in(self, values: Mapping[str, object]) -> str:
        """The text of an object or a row.

        Raises:
            UnreadableError: what is wrong with it.
        """
        return " ".join(part for part in (_text(values, name) for name in self.text) if part)

    def record(self, line: int, values: Mapping[str, object], size: int) -> Record:
        """The record of an object or a row.

        Raises:
            UnreadableError: what is wrong with it.
        """
        text, name = self.text_in(values), self.id_in(values)
        if name is None:
            return Record(line, line, text, values, size, numbered=True)
        if name not in values:
            raise UnreadableError(f"no id field {name!r}")
        return Record(line, _checked_id(values[name], name), text, Without(values, [name]), size)


class Without(Mapping[str, object]):
    """A mapping less some names; nothing is copied, so that a wide row costs only what is asked of it."""

    __slots__ = ("_names", "_values")

    def __init__(self, values: Mapping[str, object], names: Iterable[str]) -> None:
        self._values, self._names = values, frozenset(names)

    def __getitem__(self, name: str) -> object:
        if name in self._names:
            raise KeyError(name)
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._values if name not in self._names)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _text(values: Mapping[str, object], name: str) -> str:
    if name not in values:
        raise UnreadableError(f"no field {name!r}; it has: {', '.join(map(repr, values))[:200] or 'none'}")
    text = values[name]
    if not isinstance(text, str):
        raise UnreadableError(f"field {name!r} holds a {json_name(text)} instead of a string")
    _check_unicode(text, f"field {name!r}")
    return text


def _checked_id(value: object, name: str) -> Id:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise UnreadableError(f"id field {name!r} holds a {json_name(value)} instead of a string or an integer")
    if isinstance(value, str):
        _check_unicode(value, f"id field {name!r}")
    if not fits_as_id(value):
        raise UnreadableError(f"id field {name!r} is longer than {MAX_ID_BYTES} bytes or has a NUL character")
    return value


def fits_as_id(value: Id) -> bool:
    """Whether stores take it as a document's id."""
    return len(str(value).encode()) <= MAX_ID_BYTES and "\0" not in str(value)


def _check_unicode(text: str, where: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UnreadableError(f"{where} {lone_surrogate(error)} at character {error.start}") from None


def lone_surrogate(error: UnicodeEncodeError) -> str:
    """What is wrong with a text that cannot be encoded."""
    return f"has a lone surrogate (U+{ord(error.object[error.start]):04X})"


def json_name(value: object) -> str:
    """What JSON calls a value of this type, where it has such a type."""
    return _JSON_NAMES.get(type(value), type(value).__name__)


_JSON_NAMES: dict[type, str] = {
    dict: "object",
    list: "list",
    str: "string",
    int: "number",
    float: "number",
    bool: "boolean",
    type(None): "null",
    bytes: "byte string that is not UTF-8",
}
