"""The texts that quantized variants are calibrated and measured on: in the languages that a tokenizer is made for.

Scales of activations that were seen on [UNK] and single bytes are wrong for text in the model's own language.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

from tokenizers import Encoding

from spladert import ExportError

FOLDER = Path(__file__).parent / "languages"
MOST_TEXTS = 100  # of several languages together


@dataclass(frozen=True)
class Language:
    """A list of texts in a language.

    `tokens` is how many tokens a tokenizer that is made for the language, among others, takes a character of the list,
    blanks not counted: what a tokenizer takes beyond it says that it cuts the language into crumbs.
    """

    code: str
    name: str
    tokens: float

    def texts(self) -> tuple[str, ...]:
        return tuple((FOLDER / f"{self.code}.txt").read_text(encoding="utf-8").splitlines())


LANGUAGES = (
    Language("en", "English", 0.27),
    Language("ko", "Korean", 0.62),
    Language("zh", "Chinese", 1.0),
    Language("ja", "Japanese", 0.70),
    Language("de", "German", 0.27),
    Language("fr", "French", 0.30),
    Language("es", "Spanish", 0.29),
    Language("ru", "Russian", 0.28),
)
NEAR_BEST = 0.8  # of the best list's fit: lists that fit as well are taken too
POOR = 0.6  # a fit or a coverage below this is warned of


@dataclass(frozen=True)
class CalibrationTexts:
    """Texts and where they are from.

    Attributes:
        texts: one or more.
        name: what to call them in messages and reports.
        coverage: share of their characters that the tokenizer has tokens for; the others are [UNK] or bytes.
        warning: what to say of them, None if all is well.
    """

    texts: tuple[str, ...]
    name: str
    coverage: float
    warning: str | None = None


def read_texts(path: Path) -> tuple[str, ...]:
    """The lines of a file that are not blank.

    Raises:
        ExportError: the file cannot be read, is not UTF-8, or has no text.
    """
    try:
        texts = tuple(line for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise ExportError(f"calibration texts {path} cannot be read ({error}); give a UTF-8 file") from None
    if not texts:
        raise ExportError(f"calibration texts {path}: the file is empty; give one text a line, a hundred or so")
    return texts


def own_texts(texts: Sequence[str], name: str, tokenizer: Any) -> CalibrationTexts:
    """A user's texts."""
    return _describe(tuple(texts), name, tokenizer, fits=1.0)


def choose_texts(tokenizer: Any) -> CalibrationTexts:
    """The lists of the languages that a tokenizer fits best, in turns where there are several."""
    fits = {language: fit(tokenizer, language) for language in LANGUAGES}
    best = max(fits.values())
    chosen = [language for language in LANGUAGES if fits[language] >= best * NEAR_BEST]
    turns = chain.from_iterable(zip_longest(*(language.texts() for language in chosen)))
    texts = tuple(text for text in turns if text is not None)
    if len(chosen) > 1:
        texts = texts[:MOST_TEXTS]
    *others, last = (language.name for language in chosen)
    names = f"{', '.join(others)} and {last}" if others else last
    return _describe(texts, f"the {names} list{'s' if others else ''}", tokenizer, fits=best)


def _describe(texts: tuple[str, ...], name: str, tokenizer: Any, *, fits: float) -> CalibrationTexts:
    found = coverage(tokenizer, texts)
    warning = None
    if min(found, fits) < POOR:
        why = f"has tokens for {found:.0%} of the characters of {name}" if found < POOR else f"cuts {name} into crumbs"
        warning = (
            f"the tokenizer {why}: "
            "scales and fidelity say little about texts in the model's language; give some with --calibration"
        )
    return CalibrationTexts(texts, name, found, warning)


def fit(tokenizer: Any, language: Language) -> float:
    """How well a tokenizer fits a language, 0 to 1: its coverage, less for every token more than the language takes."""
    texts = language.texts()
    tokens = sum(len(encoding.ids) for encoding in _encode(tokenizer, texts))
    characters = sum(len(text) - text.count(" ") for text in texts)
    return coverage(tokenizer, texts) * min(1.0, language.tokens * characters / max(tokens, 1))


def coverage(tokenizer: Any, texts: Sequence[str]) -> float:
    """Share of the characters, blanks not counted, that one token each stands for, and not [UNK].

    A character that several tokens share is cut into bytes, or into the parts that its normal form has.
    """
    covered = total = 0
    for text, encoding in zip(texts, _encode(tokenizer, texts), strict=True):
        tokens: Counter[int] = Counter()  # by the position of the character
        for number, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
            known = number != tokenizer.unk_token_id
            tokens.update(dict.fromkeys(range(start, end), 1 if known else 2))
        letters = [position for position, letter in enumerate(text) if not letter.isspace()]
        covered += sum(tokens[position] == 1 for position in letters)
        total += len(letters)
    return covered / max(total, 1)


def _encode(tokenizer: Any, texts: Sequence[str]) -> Sequence[Encoding]:
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    return list(backend.encode_batch(texts, add_special_tokens=False))
