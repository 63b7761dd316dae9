"""Questions to points: a `Searcher` over any `Points`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..bm25 import question_entries
from ..encoder import SparseEncoder
from ..hits import best_passages, check_question, encode_question, matches_of, take_passage
from ..origin import Origin, origin_of
from ..stores import PLAIN, Answer, Hit, How
from ..vectors import SparseVector
from .points import ID, Found, Points, sorted_entries

TEXT = "text"


@dataclass(frozen=True)
class PointsSearcher:
    """Points that can be asked.

    Attributes:
        points: where they are.
        where: what the user calls it, for messages.
        origin: what made them.
    """

    points: Points
    where: str
    origin: Origin

    @property
    def model(self) -> tuple[str | None, str | None]:
        """(bundle, revision) that open what made the vectors."""
        return self.origin.bundle, self.origin.revision

    def search(self, encoder: SparseEncoder, question: str, how: How = PLAIN) -> Answer:
        """See `Searcher`."""
        self.origin.check(origin_of(encoder.bundle), self.where)
        check_question(question)
        words = question_entries(encoder.tokenizer, question) if how.hybrid else None
        vector = encode_question(encoder, question, may_be_empty=words is not None and bool(words[0]))
        entries = sorted_entries(vector)

        def find(limit: int) -> Sequence[Hit]:
            found = self.points.find(entries, words, how.filters, limit)
            return [_hit(encoder, vector, each) for each in found]

        return Answer(best_passages(find, how.top))


def _hit(encoder: SparseEncoder, vector: SparseVector, found: Found) -> Hit:
    fields = dict(found.payload)
    document_id, text = str(fields.pop(ID, "")), str(fields.pop(TEXT, ""))
    passage = take_passage(fields)
    return Hit(document_id, found.score, text, matches_of(encoder, vector, found.weights), fields, passage)
