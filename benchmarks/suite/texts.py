"""The choice of the texts that every engine is given, out of a file of sentences."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from spladert.bundle import open_bundle
from spladert.tokenizer import load_tokenizer, tokenize

from .workload import SHAPES, Shape, Workload

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SCANNED = 50_000  # lines of the file that are looked through


def make_workload(
    bundle: Path, source: Path, shapes: Iterable[Shape] = SHAPES, *, mix_texts: int, calibration_texts: int = 300
) -> Workload:
    """Choose the texts out of `source` (one a line), by the bundle's own tokenizer. The choice is always the same.

    A text beyond the model's maximum length counts as that long, since every engine cuts it there. Where there are too
    few lines of a length, lines are joined and cut at a word.

    Raises:
        SystemExit: the file is missing, or has too few lines, or a length is beyond the model's maximum.
    """
    if not source.is_file():
        raise SystemExit(f"{source} is missing: set SPLADERT_SHARED to the folder of shared data, or give --texts FILE")
    opened = open_bundle(bundle)
    longest = opened.manifest.max_length
    tokenizer = load_tokenizer(opened.tokenizer_json(), longest)
    lines = [line for line in source.read_text(encoding="utf-8").splitlines() if line.strip()][:SCANNED]
    random.Random(0).shuffle(lines)
    calibration, lines = lines[:calibration_texts], lines[calibration_texts:]
    if len(lines) < mix_texts:
        raise SystemExit(f"{source} has {len(lines)} usable lines; the mix needs {mix_texts}")
    shapes = list(shapes)
    if beyond := [shape for shape in shapes if shape.length > longest]:
        raise SystemExit(f"{beyond[0]} tokens are beyond the bundle's max_length, {longest}")
    wanted: dict[int, int] = {}
    for shape in (*shapes, *(shape for shape in SHAPES if shape.length <= longest)):
        wanted[shape.length] = max(wanted.get(shape.length, 0), shape.batch)
    return Workload(texts_by_length(tokenizer, lines, wanted), lines[:mix_texts], calibration)


def texts_by_length(tokenizer: Tokenizer, lines: Sequence[str], wanted: Mapping[int, int]) -> dict[int, list[str]]:
    """By tokens, as many texts as `wanted` says.

    Raises:
        SystemExit: there are not as many.
    """
    found: dict[int, list[str]] = {length: [] for length in wanted}
    for text, ids in zip(lines, tokenize(tokenizer, lines).input_ids, strict=True):
        if len(ids) in found and len(found[len(ids)]) < wanted[len(ids)]:
            found[len(ids)].append(text)
    for length, count in wanted.items():
        missing = count - len(found[length])
        found[length] += islice(_joined(tokenizer, lines, length), missing)
        if len(found[length]) < count:
            raise SystemExit(f"only {len(found[length])} texts have {length} tokens; {count} are needed")
    return found


def _joined(tokenizer: Tokenizer, lines: Iterable[str], length: int) -> Iterator[str]:
    """Texts of `length` tokens: lines one after another, cut after the word that makes it that long, if one does."""
    words: list[str] = []
    for line in lines:
        words += line.split()
        if len(tokenize(tokenizer, [" ".join(words)]).input_ids[0]) < length:
            continue
        beginnings = [" ".join(words[:stop]) for stop in range(1, len(words) + 1)]
        lengths = [len(ids) for ids in tokenize(tokenizer, beginnings).input_ids]
        if length in lengths:
            yield beginnings[lengths.index(length)]
        words = []
