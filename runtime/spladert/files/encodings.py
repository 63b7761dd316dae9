"""Telling what encoding bytes are in that are no UTF-8, so that an error can name it."""

from __future__ import annotations

# Korean and what is often found, the likeliest first: of equally good readings the first is named. What reads a text
# in one encoding gives valid but rare letters in the others.
ENCODINGS = {"CP949": "CP949", "UTF-16LE": "UTF-16", "UTF-16BE": "UTF-16"}
SURE = 0.8  # of the letters


def likely_encoding(content: bytes) -> str | None:
    """The name that `iconv` and Python have for an encoding in which most letters are common ones; None without one."""
    shares = {name: _common_share(content, name) for name in ENCODINGS}
    best = max(shares, key=lambda name: shares[name])
    return best if shares[best] >= SURE else None


def _common_share(content: bytes, encoding: str) -> float:
    """How much of a text is ASCII or of the 2,350 syllables in everyday use, 0 where it cannot be decoded at all."""
    if encoding.startswith("UTF-16"):
        content = content[: len(content) // 2 * 2]  # a line's end has been taken for one of bytes
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError:
        return 0.0
    return sum(map(_is_common, text)) / max(len(text), 1)


def _is_common(letter: str) -> bool:
    if "가" <= letter <= "힣":
        return len(letter.encode("euc_kr")) == 2  # others are spelled by their jamo in KS X 1001
    return letter == "\t" or " " <= letter <= "~"
