"""Records of documents as those of their passages."""

from __future__ import annotations

from spladert import SparseEncoder
from spladert.files import BadRecord, Fields, Record
from spladert.files.passages import InPassages
from spladert.passages import PassageCutter, Passages

TEXT = "서울의 오늘 날씨는 맑다. 기온은 영상 이십 도까지 오른다. " * 8


def in_passages(encoder: SparseEncoder, *records: Record | BadRecord, most: int | None = None) -> InPassages:
    cutter = PassageCutter(encoder.tokenizer, Passages(most=most), encoder.tokenizer.room("document"))
    return InPassages(records, cutter, ["title", "text"])


def test_ids_offsets_and_fields(encoder: SparseEncoder) -> None:
    whole = Fields(("title", "text")).record(3, {"_id": "a", "title": "날씨", "text": TEXT, "year": 2020}, size=500)
    cut = in_passages(encoder, whole, BadRecord(4, "why", b"raw"), Record(5, 5, "", numbered=True))
    *passages, bad, empty = cut
    assert len(passages) == 3
    for number, passage in enumerate(passages):
        assert isinstance(passage, Record)
        assert passage.passage is not None
        assert (passage.id, passage.line, passage.passage.number) == (f"a#{number}", 3, number)
        assert passage.text == whole.text[passage.passage.begin : passage.passage.end]
        assert dict(passage.fields) == {"year": 2020}
        assert passage.passage.facts("a")["document"] == "a"
    assert isinstance(bad, BadRecord)
    assert isinstance(empty, Record)
    assert (empty.id, empty.text, empty.numbered) == ("5#0", "", True)
    assert (cut.documents, cut.limited) == (2, 0)


def test_documents_that_are_not_read_to_their_end_are_counted(encoder: SparseEncoder) -> None:
    cut = in_passages(encoder, Record(1, "a", TEXT), Record(2, "b", "짧다. "), most=2)
    assert [record.id for record in cut if isinstance(record, Record)] == ["a#0", "a#1", "b#0"]
    assert (cut.documents, cut.limited) == (2, 1)


def test_an_id_that_has_no_room_for_a_number_is_bad(encoder: SparseEncoder) -> None:
    (bad,) = in_passages(encoder, Record(1, "a" * 511, "가"))
    assert isinstance(bad, BadRecord)
    assert "longer than 512 bytes" in bad.error
