"""Whether the first tokens of a text depend on its beginning alone, so that a long one need not be tokenized whole.

A text is cut in front of a space or a line end that follows something else. Its beginning then has the very tokens that
it has in the whole text if nothing in the tokenizer looks across such a place: its normalizer changes each word by
itself, its pre-tokenizer ends a word there, and no token of its own list reaches across. That is told by the names of
the tokenizer's parts; what is not listed here is taken to look across.
"""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokenizers import AddedToken, Tokenizer

# Normalizers that change characters one by one, or with the marks that follow them.
LOCAL_NORMALIZERS = frozenset(
    {"BertNormalizer", "NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "Nmt", "Precompiled"}
)
# Pre-tokenizers that end a word at white space, and those that only cut further what others gave them.
ENDS_AT_SPACE = frozenset({"BertPreTokenizer", "Whitespace", "WhitespaceSplit"})
CUTS_FURTHER = frozenset({"Digits", "Punctuation", "UnicodeScripts"})


def depends_on_beginning(tokenizer: Tokenizer) -> bool:
    """Whether a text that is cut in front of a space or a line end has the same tokens up to there."""
    return (
        all(map(_is_local, _parts(tokenizer.normalizer, "normalizers")))
        and _ends_words(_parts(tokenizer.pre_tokenizer, "pretokenizers"))
        and not any(map(_reaches_across, tokenizer.get_added_tokens_decoder().values()))
    )


def _parts(part: Any, members: str) -> list[dict[str, Any]]:
    """A normalizer or pre-tokenizer as tokenizer.json has it, sequences as the list of their members."""
    return [] if part is None else _flat(json.loads(part.__getstate__()), members)


def _flat(part: dict[str, Any], members: str) -> list[dict[str, Any]]:
    if part["type"] == "Sequence":
        return [inner for member in part[members] for inner in _flat(member, members)]
    return [part]


def _is_local(normalizer: dict[str, Any]) -> bool:
    if normalizer["type"] == "Replace":  # of a fixed text; what a regular expression looks at is not known here
        pattern = normalizer.get("pattern", {}).get("String")
        return isinstance(pattern, str) and not any(character.isspace() for character in pattern)
    return normalizer["type"] in LOCAL_NORMALIZERS


def _ends_words(pre_tokenizers: list[dict[str, Any]]) -> bool:
    ends = False
    for part in pre_tokenizers:
        kind = part["type"]
        if kind == "ByteLevel":  # GPT-2's expression begins a new word at a space, and takes runs of spaces whole
            ends = ends or bool(part.get("use_regex", True))
        elif kind == "Metaspace":
            ends = ends or (bool(part.get("split", True)) and part.get("replacement", "▁") == "▁")
        elif kind in ENDS_AT_SPACE:
            ends = True
        elif kind not in CUTS_FURTHER:
            return False
    return ends


def _reaches_across(added: AddedToken) -> bool:
    """Whether white space that follows something else is inside the token, or belongs to it (`rstrip`, `lstrip`)."""
    inside = any(b.isspace() and not a.isspace() for a, b in pairwise(added.content))
    return inside or added.rstrip or added.lstrip
