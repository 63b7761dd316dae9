"""Long documents in passages: cut at sentence ends, each as long as the model reads."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from .errors import InputError
from .tokenizer import TextTokenizer

# A full stop that white space follows, a full stop of Chinese or Japanese, or the end of a line.
SENTENCE_END = re.compile(r"[.!?…]+[\"'”’)\]»]*(?=\s)|[。！？]+[”’」』）]*|\n")
LONGEST_SENTENCE = 2_000  # characters; more are no sentence, and memory must not grow with a document
SENTENCES_AT_ONCE = 64


@dataclass(frozen=True)
class Passages:
    """How documents are cut.

    Attributes:
        overlap: tokens that a passage has in common with the one before it, at most; whole sentences if they fit, else
            whole words.
        most: passages of a document; what comes after them is not read. None is no limit.

    Raises:
        InputError: a number that is not whole, or out of range.
    """

    overlap: int = 0
    most: int | None = None

    def __post_init__(self) -> None:
        for name, value in (("overlap", self.overlap), ("most", 1 if self.most is None else self.most)):
            if type(value) is not int:
                raise InputError(f"{name} of passages is {value!r}; give a whole number")
        if self.overlap < 0:
            raise InputError(f"the overlap of passages is {self.overlap}; give 0 or more tokens")
        if self.most is not None and self.most < 1:
            raise InputError(f"the most passages of a document is {self.most}; give 1 or more")


@dataclass(frozen=True, slots=True)
class _Unit:
    """A sentence, or a part of one, with the white space behind it, and how many tokens it has, at most."""

    begin: int
    end: int
    tokens: int


class PassageCutter:
    """Cuts texts into passages of at most `room` tokens.

    Attributes:
        room: tokens of a passage, the model's special tokens and prompt not counted.
    """

    def __init__(self, tokenizer: TextTokenizer, passages: Passages, room: int) -> None:
        """
        Raises:
            InputError: the overlap leaves no room.
        """
        if passages.overlap >= room:
            raise InputError(f"the overlap of passages is {passages.overlap}; give less than the {room} tokens of one")
        self._tokenizer, self._passages, self.room = tokenizer, passages, room

    def __call__(self, text: str) -> list[tuple[int, int]]:
        """The (begin, end) of each passage in characters, the last not included; at least one.

        White space around a passage is left out. Where the text is longer than the passages allowed, the last one ends
        before the text does.

        Raises:
            InputError: the text holds a lone surrogate.
        """
        spans = list(islice(self._spans(text), self._passages.most))
        return spans or [(0, len(text))]

    def _spans(self, text: str) -> Iterator[tuple[int, int]]:
        units: list[_Unit] = []  # of the passage that is being filled
        is_new = True  # whether there is nothing in it that the one before has not
        for sentence in self._sentences(text):
            rest = sentence
            while _tokens(units) + rest.tokens > self.room:
                if is_new:  # too long for any passage
                    piece, rest = self._split(text, rest, self.room - _tokens(units))
                    units.append(piece)
                kept = self._overlap(text, units, rest)
                if kept != units:  # else the next passage has all of this one
                    yield _span(text, units)
                units, is_new = kept, True
            if rest.begin < rest.end:
                units.append(rest)
                is_new = False
        if not is_new:
            yield _span(text, units)

    def _overlap(self, text: str, units: list[_Unit], following: _Unit) -> list[_Unit]:
        """The end of a passage that the next one, which `following` begins, has too."""
        most = self._passages.overlap
        if following.tokens <= self.room:
            most = min(most, self.room - following.tokens)
        kept: list[_Unit] = []
        for unit in reversed(units):
            if _tokens(kept) + unit.tokens > most:
                break
            kept.insert(0, unit)
        return kept or self._last_words(text, units[-1], most)

    def _sentences(self, text: str) -> Iterator[_Unit]:
        spans = _sentences(text)
        while some := list(islice(spans, SENTENCES_AT_ONCE)):
            counts = self._tokenizer.all_ids([text[begin:end] for begin, end in some])
            for (begin, end), ids in zip(some, counts, strict=True):
                yield _Unit(begin, end, len(ids))

    def _split(self, text: str, unit: _Unit, most: int) -> tuple[_Unit, _Unit]:
        """A unit's beginning of at most `most` tokens, and the rest; between words if it can be, else letters."""
        begin = unit.begin
        offsets = self._tokenizer.offsets(text[begin : unit.end])
        starts = [begin + offset for offset, _ in offsets if offset]
        near = [at for at in starts if at <= begin + offsets[most][0]][::-1]
        words = (at for at in near if text[at - 1].isspace())
        letters = (at for at in near if self._count(text[begin:at]) <= most)
        fallback = starts[0] if starts else unit.end  # a letter of many tokens
        end = next(words, None) or next(letters, None) or fallback
        return _Unit(begin, end, most), _Unit(end, unit.end, self._count(text[end : unit.end]))

    def _last_words(self, text: str, unit: _Unit, most: int) -> list[_Unit]:
        """The end of a unit, from the beginning of a word, with at most `most` tokens; nothing where none is."""
        offsets = self._tokenizer.offsets(text[unit.begin : unit.end]) if most > 0 else []
        for left, (offset, _) in zip(range(most, 0, -1), offsets[-most:], strict=False):
            if offset and text[unit.begin + offset - 1].isspace():
                return [_Unit(unit.begin + offset, unit.end, left)]
        return []

    def _count(self, text: str) -> int:
        return len(self._tokenizer.all_ids([text])[0])


def _tokens(units: Iterable[_Unit]) -> int:
    return sum(unit.tokens for unit in units)


def _span(text: str, units: list[_Unit]) -> tuple[int, int]:
    begin, end = units[0].begin, units[-1].end
    return begin, begin + len(text[begin:end].rstrip())


def _sentences(text: str) -> Iterator[tuple[int, int]]:
    """The sentences of a text with the white space behind them, long ones in parts; white space alone is none."""
    begin = len(text) - len(text.lstrip())
    while begin < len(text):
        found = SENTENCE_END.search(text, begin, begin + LONGEST_SENTENCE)
        end = begin + LONGEST_SENTENCE if found is None else found.end()
        if found is None and end < len(text):
            space = max(text.rfind(mark, begin, end) for mark in " \t")
            end = space if space > begin else end
        while end < len(text) and text[end].isspace():
            end += 1
        yield begin, min(end, len(text))
        begin = end
