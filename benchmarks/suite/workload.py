"""The texts that every engine is given: real sentences by length, and a mix as they come."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

LENGTHS = (8, 16, 32, 64)  # tokens of a text, special tokens included
BATCHES = (1, 8, 32)  # texts of a call
MIX_BATCH = 32


@dataclass(frozen=True, order=True)
class Shape:
    """A call's shape: `batch` texts of exactly `length` tokens each."""

    batch: int
    length: int

    def __str__(self) -> str:
        return f"{self.batch} x {self.length}"

    @classmethod
    def parse(cls, text: str) -> Shape:
        """The shape of a str.

        Raises:
            ValueError: it is none.
        """
        parts = text.split("x")
        if len(parts) != 2 or not all(part.strip().isdecimal() and int(part) for part in parts):
            raise ValueError(f"{text!r} is no shape such as '8 x 64'")
        return cls(*map(int, parts))


def shapes_of(names: Iterable[str]) -> list[Shape]:
    """The shapes of these names, each once, in the tables' order."""
    return sorted(map(Shape.parse, set(names)))


SHAPES = tuple(Shape(batch, length) for batch in BATCHES for length in LENGTHS)


@dataclass(frozen=True)
class Workload:
    """The texts of all engines.

    Attributes:
        by_length: by tokens, as many as the largest batch of that length needs.
        mix: in random order.
        calibration: for engines that quantize themselves; has no text of the others.
    """

    by_length: dict[int, list[str]]
    mix: list[str]
    calibration: list[str]

    def texts(self, shape: Shape) -> list[str]:
        return self.by_length[shape.length][: shape.batch]

    def to_dict(self) -> dict[str, object]:
        return asdict(self)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Workload:
        """A workload of JSON, whose keys are strings."""
        by_length = {int(length): texts for length, texts in raw["by_length"].items()}
        return cls(by_length, raw["mix"], raw["calibration"])


def mix_batches(texts: Sequence[str], batching: str) -> list[list[str]]:
    """The mix as the calls that an engine gets: all at once if it batches by itself, else `MIX_BATCH` texts a call, in
    the texts' own order or sorted by their number of characters."""
    if batching == "own":
        return [list(texts)]
    ordered = sorted(texts, key=len, reverse=True) if batching == "sorted" else list(texts)
    return [ordered[start : start + MIX_BATCH] for start in range(0, len(ordered), MIX_BATCH)]
