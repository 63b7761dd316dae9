"""Records of long documents as records of their passages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from ..passages import PassageCutter
from .records import MAX_ID_BYTES, BadRecord, Passage, Record, Without, fits_as_id


class InPassages:
    """The records of documents as those of their passages, `ID#0` and so on, in order.

    A passage has the fields of its document but for those of the text.

    Attributes:
        documents: how many have been cut so far.
        limited: how many of them had more passages than they may have.
    """

    def __init__(
        self, records: Iterable[Record | BadRecord], cutter: PassageCutter, text_fields: Sequence[str]
    ) -> None:
        self._records, self._cutter, self._text_fields = records, cutter, text_fields
        self.documents = self.limited = 0

    def __iter__(self) -> Iterator[Record | BadRecord]:
        for record in self._records:
            if isinstance(record, BadRecord):
                yield record
                continue
            spans = self._cutter(record.text)
            self.documents += 1
            self.limited += bool(record.text[spans[-1][1] :].strip())
            if fits_as_id(f"{record.id}#{len(spans)}"):
                yield from self._passages(record, spans)
            else:
                reason = f"the ids of its passages, {len(spans)} behind its own, are longer than {MAX_ID_BYTES} bytes"
                yield BadRecord(record.line, reason, record.text.encode())

    def _passages(self, record: Record, spans: Sequence[tuple[int, int]]) -> Iterator[Record]:
        fields = Without(record.fields, self._text_fields)
        for number, (begin, end) in enumerate(spans):
            text = record.text[begin:end]
            yield Record(
                record.line,
                f"{record.id}#{number}",
                text,
                fields,
                size=len(text.encode()),
                numbered=record.numbered,
                passage=Passage(record, number, begin, end),
            )
