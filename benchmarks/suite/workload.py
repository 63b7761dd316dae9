"""The texts that every engine is given: real sentences by length, and a mix as they come."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

LENGTHS = (8, 16, 32, 64)  # tokens of a text, special tokens included
BATCHES = (1, 8, 32)  # texts of a call
MIX_BATCH = 32
SCANNED = 50_000  # lines of the file that are looked through


@dataclass(frozen=True)
class Shape:
    """A call's shape: `batch` texts of exactly `length` tokens each."""

    batch: int
    length: int

    def __str__(self) -> str:
        return f"{self.batch} x {self.length}"


SHAPES = tuple(Shape(batch, length) for batch in BATCHES for length in LENGTHS)


@dataclass(frozen=True)
class Workload:
    """`by_length` holds the most texts that a shape needs, by tokens; `mix` has texts in random order; `calibration`
    is for engines that quantize themselves, and has no text of the others."""

    by_length: dict[int, list[str]]
    mix: list[str]
    calibration: list[str]

    def texts(self, shape: Shape) -> list[str]:
        return self.by_length[shape.length][: shape.batch]

    def to_dict(self) -> dict[str, object]:
        return asdict(self)

    @classmethod
    def from_dict(cls, raw: dict[str, object]) -> Workload:
        by_length: dict[str, list[str]] = raw["by_length"]  # type: ignore[assignment]  # JSON's keys are strings
        return cls(
            by_length={int(length): texts for length, texts in by_length.items()},
            mix=raw["mix"],  # type: ignore[arg-type]
            calibration=raw["calibration"],  # type: ignore[arg-type]
        )


def make_workload(bundle: Path, source: Path, *, mix_texts: int, calibration_texts: int = 300) -> Workload:
    """Choose the texts out of `source` (one a line), by the bundle's own tokenizer. The choice is always the same.

    A text beyond the model's maximum length counts as that long, since every engine cuts it there.

    Raises:
        SystemExit: the file is missing, or has too few lines of some length.
    """
    from spladert.bundle import open_bundle
    from spladert.tokenizer import load_tokenizer, tokenize

    if not source.is_file():
        raise SystemExit(f"{source} is missing: set SPLADERT_SHARED to the folder of shared data, or give --texts FILE")
    opened = open_bundle(bundle)
    tokenizer = load_tokenizer(opened.tokenizer_json(), opened.manifest.max_length)
    lines = [line for line in source.read_text(encoding="utf-8").splitlines() if line.strip()][:SCANNED]
    random.Random(0).shuffle(lines)
    calibration, lines = lines[:calibration_texts], lines[calibration_texts:]
    by_length = texts_by_length(lines, [len(ids) for ids in tokenize(tokenizer, lines)])
    if len(lines) < mix_texts:
        raise SystemExit(f"{source} has {len(lines)} usable lines; the mix needs {mix_texts}")
    return Workload(by_length=by_length, mix=lines[:mix_texts], calibration=calibration)


def texts_by_length(texts: Sequence[str], lengths: Sequence[int]) -> dict[int, list[str]]:
    """The first `max(BATCHES)` texts of each of LENGTHS.

    Raises:
        SystemExit: there are not as many.
    """
    found: dict[int, list[str]] = {length: [] for length in LENGTHS}
    for text, length in zip(texts, lengths, strict=True):
        if length in found and len(found[length]) < max(BATCHES):
            found[length].append(text)
    for length, chosen in found.items():
        if len(chosen) < max(BATCHES):
            raise SystemExit(f"only {len(chosen)} texts have {length} tokens; {max(BATCHES)} are needed")
    return found


def mix_batches(texts: Sequence[str], batching: str) -> list[list[str]]:
    """The mix as the calls that an engine gets: all at once if it batches by itself, else `MIX_BATCH` texts a call, in
    the texts' own order or sorted by their number of characters."""
    if batching == "own":
        return [list(texts)]
    ordered = sorted(texts, key=len, reverse=True) if batching == "sorted" else list(texts)
    return [ordered[start : start + MIX_BATCH] for start in range(0, len(ordered), MIX_BATCH)]
