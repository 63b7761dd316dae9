"""Counts in words, for people."""

from __future__ import annotations


def counted(count: int, noun: str) -> str:
    """`1 text`, `1,024 texts`; the noun is one whose plural has an s."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def counted_were(count: int, noun: str) -> str:
    """`1 text was`, `2 texts were`."""
    return f"{counted(count, noun)} {'was' if count == 1 else 'were'}"
