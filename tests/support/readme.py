"""The README's code blocks."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .paths import ROOT

README = ROOT / "README.md"
BLOCK = re.compile(
    r"(?:^<!-- test: skip, (?P<skip>[^>]+) -->\n)?^```(?P<language>\w+)\n(?P<code>.*?)^```\n"
    r"(?:\n```\n(?P<output>.*?)^```\n)?",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """A block of code.

    Attributes:
        language: the word behind the backticks.
        code: its lines.
        output: the block without a language that follows it, or None.
        skip: why it is not run here, of the comment before it, or None.
        line: the README's line where it begins.
    """

    language: str
    code: str
    output: str | None
    skip: str | None
    line: int


def blocks(text: str | None = None) -> list[Block]:
    """Every block with a language, in the text's order; by default the README's."""
    text = README.read_text(encoding="utf-8") if text is None else text
    return [
        Block(found["language"], found["code"], found["output"], found["skip"], text.count("\n", 0, found.start()) + 1)
        for found in BLOCK.finditer(text)
    ]


NUMBER = re.compile(r"\d+(?:[.,:]\d+)*(?:e[+-]\d+)?")
HERE = "\0"  # where a number was


def numbers_where_they_agree(expected: str, found: str) -> list[tuple[str, str]] | None:
    """Pairs of (expected, found) numbers where two outputs agree but for their numbers and their spaces and line ends.

    A line "..." stands for anything. None where they do not agree.
    """
    parts = re.split(r"^\.\.\.$", expected, flags=re.MULTILINE)
    texts = [r"\s+".join(re.escape(word) for word in NUMBER.sub(HERE, part).split()) for part in parts]
    pattern = r"\s(?:.*\s)??".join(texts).replace(re.escape(HERE), f"({NUMBER.pattern})")
    match = re.fullmatch(rf"\s*{pattern}\s*", found, re.DOTALL)
    if match is None:
        return None
    return list(zip((number for part in parts for number in NUMBER.findall(part)), match.groups(), strict=True))
