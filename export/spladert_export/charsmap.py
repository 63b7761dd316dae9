"""A map from characters to strings in the format of SentencePiece's `precompiled_charsmap`.

`tokenizers.normalizers.Precompiled` reads it: one pass over a text, however many characters are mapped. It is a
double-array trie over the keys' UTF-8 bytes, as Darts-clone lays it out (https://github.com/s-yata/darts-clone,
include/darts.h, `DoubleArrayUnit`), followed by the values, each ended by NUL. A node's unit holds the byte that leads
to it (bits 0 to 7), whether a key ends there (bit 8) and its own position XOR its base (from bit 10). A child is at the
base XOR its byte; the key's value, an offset into the strings with bit 31 set, is at the base itself.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from itertools import count

KEY_ENDS, VALUE, DISTANCE_SHIFT, MOST_UNITS = 1 << 8, 1 << 31, 10, 1 << 21
CONTINUATIONS = 64  # different last bytes of UTF-8: bases that are multiples of it give every node a place of its own


def charsmap(replacements: Mapping[str, str]) -> bytes:
    """The bytes of a `precompiled_charsmap` that replaces each key by its value.

    Raises:
        ValueError: a key is no single character, or a key or a value holds U+0000, with which strings end.
    """
    if wrong := [key for key, value in replacements.items() if len(key) != 1 or "\0" in key + value]:
        raise ValueError(f"{wrong[0]!r} is no key; give single characters, and no U+0000")
    strings, offsets = bytearray(), dict[str, int]()
    for value in sorted(set(replacements.values())):
        offsets[value] = len(strings)
        strings += value.encode() + b"\0"
    units = _double_array({key.encode(): offsets[value] for key, value in replacements.items()})
    return struct.pack(f"<{1 + len(units)}I", 4 * len(units), *units) + bytes(strings)


def _double_array(values: Mapping[bytes, int]) -> list[int]:
    """The units of a trie in which no key begins another, which holds for single characters."""
    children: dict[bytes, set[bytes]] = {b"": set()}
    for key in values:
        for end in range(len(key)):
            children.setdefault(key[:end], set()).add(key[: end + 1])
    at, units = {b"": 0}, {0: 0}  # position of each prefix, unit of each position
    used: set[int] = set()  # no two nodes share a base: one would find the other's children
    for prefix, longer in sorted(children.items(), key=lambda item: (len(item[0]), item[0])):
        base = next(
            base
            for base in count(0, CONTINUATIONS)
            if base not in used and all(base ^ key[-1] not in units for key in longer)
        )
        used.add(base)
        units[at[prefix]] |= (at[prefix] ^ base) << DISTANCE_SHIFT
        for key in longer:
            at[key] = base ^ key[-1]
            units[at[key]] = key[-1] | (KEY_ENDS if key in values else 0)
    free = (position for position in count() if position not in units)
    unit_of: dict[int, int] = {}  # equal values share one
    for key, value in sorted(values.items()):
        if value not in unit_of:
            unit_of[value] = next(free)
            units[unit_of[value]] = VALUE | value
        units[at[key]] |= (at[key] ^ unit_of[value]) << DISTANCE_SHIFT
    size = (max(units) // 256 + 1) * 256  # a search may look anywhere in the last block
    if size > MOST_UNITS:
        raise ValueError(f"{len(values)} keys are too many for one table")
    return [units.get(position, 0) for position in range(size)]
