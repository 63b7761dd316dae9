"""The sink of every store: each document once, whatever is interrupted, and what is refused kept aside.

Where a job is, is kept in a folder of its own. What was written after the last commit is written again: a document's
id is the input's, or else a hash of its content, so that it takes the same place.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ...counting import counted_were
from ...errors import InputError
from ...vectors import SparseVectors
from ..job import Job, Progress
from ..records import PASSAGE, BadRecord, Record, lone_surrogate
from ..spool import Spool

if TYPE_CHECKING:
    from ...stores import Load

REFUSED, ERRORS = "refused.jsonl", "errors.jsonl"
REASON = "_refused"  # the field of a refused document that says its line and why; it is not stored


@dataclass(frozen=True, slots=True)
class Row:
    """A document, or a passage of one, as a store takes it.

    Attributes:
        id: its own.
        fields: all that the input has, with the text under its own name or the store's.
        text: what was encoded.
        document_id: the id of the document that it is a passage of, else its own.
        is_first: whether it is the first passage, or all of a document.
    """

    id: str
    fields: Mapping[str, object]
    text: str
    document_id: str
    is_first: bool = True

    def to_json(self) -> str:
        """The fields as a JSON object.

        Raises:
            InputError: a value is none that JSON has, or a whole document has the field that says what passage it is.
        """
        self._check_name()
        return json_of(self.fields)

    def plain_fields(self) -> dict[str, Any]:
        """The fields as JSON has them; raises as `to_json`."""
        self._check_name()
        if all(map(_is_plain, self.fields)) and all(map(_is_plain, self.fields.values())):
            return dict(self.fields)  # a way through JSON would be a tenth of what a row costs
        plain: dict[str, Any] = json.loads(json_of(self.fields))
        return plain

    def _check_name(self) -> None:
        if PASSAGE in self.fields and self.id == self.document_id:
            raise InputError(f"the document has a field {PASSAGE!r}, which is kept for passages; rename it")


def _is_plain(value: object) -> bool:
    """Whether a value is surely the same after a way through JSON."""
    if type(value) is not str:
        return type(value) in (int, bool, type(None))
    try:
        value.encode()
    except UnicodeEncodeError:  # a lone surrogate
        return False
    return True


@dataclass(frozen=True)
class Refused:
    """A row that the store does not take: its place among those that were written, and why."""

    position: int
    reason: str


class Collection(Protocol):
    """Where a store keeps the rows of a URL. Nothing is asked of the store before `open`."""

    @property
    def text_field(self) -> str:
        """The field that holds the text of rows that have it under no name."""

    @property
    def facts(self) -> Mapping[str, object]:
        """What decides what is written, besides the job; only a job with the same goes on after an interruption."""

    def open(self, *, fresh: bool) -> bool:
        """Look at what is there, before anything is encoded; whether there is anything yet.

        Args:
            fresh: whether no interrupted job is to be continued.

        Raises:
            InputError: it is another model's, or cannot be taken.
            StoreError: the store refuses, or does not answer.
        """

    def write(self, rows: Sequence[Row], vectors: SparseVectors) -> Sequence[Refused]:
        """Write rows, in the place of those with the same ids; they last when this returns. Makes what is not there.

        Raises:
            StoreError: the store refuses as a whole, or does not answer.
        """

    def finish(self) -> Sequence[str]:
        """All rows are written; what there is to say about that, a sentence each.

        Raises:
            StoreError: the store refuses, or does not answer; the same command ends the job.
        """


@contextmanager
def open_store_sink(collection: Collection, where: str, name: str, load: Load) -> Iterator[StoreSink]:
    """The sink of a collection.

    Args:
        collection: where rows go.
        where: what the user calls it, for messages.
        name: a short name of it, for the folder of the job.
        load: what else is asked.

    Raises:
        InputError: another process runs the same job.
    """
    digest = hashlib.sha256(json.dumps([where, load.input]).encode()).hexdigest()[:16]
    folder = (load.state or default_state()) / f"{name}-{digest}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with Spool(folder, [REFUSED, ERRORS]) as spool:
        yield StoreSink(collection, where, spool)


def default_state(environment: Mapping[str, str] = os.environ) -> Path:
    """The user's state directory (XDG base directories)."""
    home = environment.get("XDG_STATE_HOME")
    return (Path(home) if home else Path.home() / ".local" / "state") / "spladert"


class StoreSink:
    """A sink of a collection.

    Attributes:
        report: what there is to say when the job has ended, a sentence each.
        refused: documents that the store does not take; counted when the job has ended.
    """

    keeps_fields = True

    def __init__(self, collection: Collection, where: str, spool: Spool) -> None:
        self._collection, self._where, self._spool = collection, where, spool
        self._facts: dict[str, Any] = {}
        self._rows = Rows(collection.text_field)
        self._kind = KindOfIds()
        self.report: tuple[str, ...] = ()
        self.refused = 0

    @property
    def checkpoint(self) -> Path:
        return self._spool.folder

    def resume(self, job: Job) -> Progress:
        """See `Sink`. What is there is looked at before anything is encoded.

        Raises:
            InputError: it is another model's; or what an interrupted run left is another job's.
            StoreError: the store refuses, or does not answer.
        """
        self._facts = json.loads(json.dumps({**job.facts(), **self._collection.facts}))
        saved = self._spool.saved()
        there = self._collection.open(fresh=saved is None)
        if saved is None:
            self._spool.restore({})
            return Progress()
        different = [name for name in self._facts if saved.job.get(name) != self._facts[name]]
        if different or not there:
            what = f"with a different {' and '.join(different)}" if different else f"into {self._where}, which is gone"
            raise InputError(
                f"{self._spool.folder} is left of an interrupted run {what}: "
                "run with the same again to finish it, or delete that folder to start over"
            )
        self._spool.restore(saved.sizes)
        return saved.progress

    def write(self, records: Sequence[Record], vectors: SparseVectors) -> None:
        """See `Sink`. A document whose id is of the other kind than those before it is refused too.

        Raises:
            StoreError: the store refuses as a whole, or has not answered for long.
        """
        if not records:
            return
        self._rows.text_field = self._collection.text_field
        rows = [self._rows(record) for record in records]
        reasons = [self._kind.refusal(record) for record in records]
        kept = [position for position, reason in enumerate(reasons) if reason is None]
        refused = [(position, reason) for position, reason in enumerate(reasons) if reason is not None]
        if refused:
            vectors = SparseVectors.from_rows([vectors[position] for position in kept], vectors.vocabulary_size)
        if kept:
            found = self._collection.write([rows[position] for position in kept], vectors)
            refused += [(kept[each.position], each.reason) for each in found]
        lines = (_refused_line(records[position].line, rows[position], reason) for position, reason in refused)
        self._spool.append({REFUSED: b"".join(lines)})

    def reject(self, records: Sequence[BadRecord]) -> None:
        self._spool.append({ERRORS: b"".join(record.to_json() for record in records)})

    def commit(self, progress: Progress) -> None:
        self._spool.save(self._facts, progress)

    def finish(self) -> None:
        """See `Sink`: the documents can be found.

        Raises:
            StoreError: the store refuses, or does not answer; the same command ends the job.
        """
        report = list(self._collection.finish())
        self.refused = _lines(self._spool.folder / REFUSED)
        for name, noun, what in ((REFUSED, "document", "refused by the store"), (ERRORS, "bad line", "skipped")):
            count = _lines(self._spool.folder / name)
            if count:
                kept = self._spool.folder.with_name(f"{self._spool.folder.name}.{name}")
                shutil.copyfile(self._spool.folder / name, kept)
                again = ", which can be given again once it is mended" if name == REFUSED else ""
                report.append(f"{counted_were(count, noun)} {what}, see {kept}{again}")
        self.report = tuple(report)
        self._spool.remove()


class KindOfIds:
    """Tells ids 1 and "1" apart, which are one to a store, so that one document would replace another."""

    def __init__(self) -> None:
        self._kind: type | None = None  # int or str, of the ids so far that look like numbers

    def refusal(self, record: Record) -> str | None:
        """Why a record cannot be taken after those before it; None if it can."""
        whole = record if record.passage is None else record.passage.whole
        if whole.numbered or (isinstance(whole.id, str) and not whole.id.isdecimal()):
            return None
        self._kind = self._kind or type(whole.id)
        if self._kind is type(whole.id):
            return None
        return (
            'ids are kept as text, to which 1 and "1" are one, and there are both kinds '
            f"(here {whole.id!r}): give all as numbers, or all as text"
        )


class Rows:
    """Makes rows of records.

    Attributes:
        text_field: the field of a text that the input has under no name.
    """

    def __init__(self, text_field: str) -> None:
        self.text_field = text_field
        self._whole: tuple[Record | None, str] = (None, "")  # the document of the last passage, and its id

    def __call__(self, record: Record) -> Row:
        fields = self._fields(record)
        passage = record.passage
        if passage is None:
            own = document_id(record, fields)
            document = _document_of(own, fields)
            return Row(own, fields, record.text, document, is_first=document == own)
        if self._whole[0] is not passage.whole:
            self._whole = passage.whole, document_id(passage.whole, self._fields(passage.whole))
        document = self._whole[1]
        fields[PASSAGE] = passage.facts(document)
        return Row(f"{document}#{passage.number}", fields, record.text, document, passage.number == 0)

    def _fields(self, record: Record) -> dict[str, object]:
        fields = {name: value for name, value in record.fields.items() if name != REASON}
        fields.setdefault(self.text_field, record.text)
        return fields


def _document_of(own: str, fields: Mapping[str, object]) -> str:
    """The document that a row without passages is of: another one where it is a passage that was refused before."""
    facts = fields.get(PASSAGE)
    document = facts.get("document") if isinstance(facts, Mapping) else None
    if isinstance(facts, Mapping) and isinstance(document, str) and own == f"{document}#{facts.get('number')}":
        return document
    return own


def document_id(record: Record, fields: Mapping[str, object]) -> str:
    """A document's id: the input's own, else a hash of all that the document is.

    Raises:
        InputError: a value is none that JSON has.
    """
    if not record.numbered:
        return str(record.id)
    try:
        content = _HASHED.encode(fields).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise _no_json(fields, error) from None
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()[:18]).decode("ascii")


def json_of(fields: Mapping[str, object]) -> str:
    """The fields as a JSON object, dates as ISO 8601.

    Raises:
        InputError: a value is none that JSON has.
    """
    try:
        text = _STORED.encode(fields)
        text.encode()  # a lone surrogate in another field than the text
    except (TypeError, ValueError, RecursionError) as error:
        raise _no_json(fields, error) from None
    return text


def _no_json(fields: Mapping[str, object], error: Exception) -> InputError:
    """What to raise for a document that cannot be JSON: it names the field."""
    problem = str(error)
    for name, value in fields.items():
        try:
            _STORED.encode({name: value}).encode()
        except UnicodeEncodeError as found:
            problem = f"field {name!r} {lone_surrogate(found)}"
            break
        except (TypeError, ValueError, RecursionError) as found:
            problem = f"field {name!r}: {found}"
            break
    return InputError(f"the document cannot be JSON: {problem}")


def _plain(value: object) -> object:
    if hasattr(value, "isoformat"):
        return value.isoformat()
    raise TypeError(f"a value of type {type(value).__name__}")


# Made once: `json.dumps` makes one a call, which takes longer than a short document.
_HASHED = json.JSONEncoder(sort_keys=True, default=str)
_STORED = json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=_plain)


def _refused_line(line: int, row: Row, reason: str) -> bytes:
    value = {"_id": row.id, **row.fields, REASON: {"line": line, "error": reason}}
    return json.dumps(value, default=str).encode("ascii") + b"\n"


def _lines(path: Path) -> int:
    with path.open("rb") as stream:
        return sum(1 for _ in stream)
