"""Whether the first tokens of a text depend on its beginning alone, so that a long one need not be tokenized whole.

A text is cut in front of a space or a line end that follows something else. Its beginning then has the very tokens that
it has in the whole text if nothing in the tokenizer looks across such a place: its normalizer changes each word by
itself, its pre-tokenizer ends a word there, and no token of its own list reaches across. That is told by the names of
the tokenizer's parts; what is not listed here is taken to look across.
"""

from __future__ import annotations

import json
import re
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokenizers import AddedToken, Tokenizer

# Normalizers that change characters one by one, or with the marks that follow them.
LOCAL_NORMALIZERS = frozenset(
    {"BertNormalizer", "NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "Nmt", "Precompiled"}
)
# Of those, the ones to which a Hangul syllable is itself, or its two or three jamo.
KEEP_SYLLABLES = frozenset({"BertNormalizer", "NFC", "NFD", "NFKC", "NFKD", "Lowercase"})
SYLLABLE = re.compile("[가-힣]")
# What a regular expression may be made of: groups and looks around, quantifiers, and atoms, each of one character: a
# class (in which classes may be), an escape or a plain character. No anchors, and no references to groups.
STRUCTURE = re.compile(r"\((?:\?(?:[:=!>]|<[=!]))?(?!\?)|[)|]|[*+?]|\{\d*,?\d*\}")
ESCAPE = re.compile(r"\\(?:[pP]\{\^?\w+\}|x\{[0-9A-Fa-f]+\}|[dDsSwWhH]|[^\w\s])")
PLAIN = re.compile(r"[^\^$*+?{}\[\]()|\\]")
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


def longest_read_word(tokenizer: Tokenizer) -> int | None:
    """The most letters of a word that is not the unknown token; None where Hangul syllables could be more than letters.

    Of a longer row of syllables any number can be left out without a change: it stays one word, and unknown. That
    holds where syllables become one letter or more each, never a space, and none is in a token of the tokenizer's own
    list.
    """
    model = json.loads(tokenizer.model.__getstate__())
    pre_tokenizers = _parts(tokenizer.pre_tokenizer, "pretokenizers")
    read = (
        model["type"] == "WordPiece"
        and {part["type"] for part in _parts(tokenizer.normalizer, "normalizers")} <= KEEP_SYLLABLES
        and [part["type"] for part in pre_tokenizers] == ["BertPreTokenizer"]
        and not any(map(SYLLABLE.search, (token.content for token in tokenizer.get_added_tokens_decoder().values())))
    )
    return int(model["max_input_chars_per_word"]) if read else None


def _parts(part: Any, members: str) -> list[dict[str, Any]]:
    """A normalizer or pre-tokenizer as tokenizer.json has it, sequences as the list of their members."""
    return [] if part is None else _flat(json.loads(part.__getstate__()), members)


def _flat(part: dict[str, Any], members: str) -> list[dict[str, Any]]:
    if part["type"] == "Sequence":
        return [inner for member in part[members] for inner in _flat(member, members)]
    return [part]


def _is_local(normalizer: dict[str, Any]) -> bool:
    if normalizer["type"] == "Replace":
        pattern = normalizer["pattern"]
        if "Regex" in pattern:
            return _sees_no_space(pattern["Regex"])
        return not any(character.isspace() for character in pattern["String"])
    return normalizer["type"] in LOCAL_NORMALIZERS


def _sees_no_space(expression: str) -> bool:
    """Whether a space or a line end is the same to a regular expression as the end of the text.

    So it is if none of its atoms matches one, for then neither a match nor a look ahead gets past it.
    """
    from tokenizers import Regex
    from tokenizers.normalizers import Replace

    atoms = _atoms(expression)
    return atoms is not None and all(Replace(Regex(atom), "").normalize_str(" \n") == " \n" for atom in atoms)


def _atoms(expression: str) -> set[str] | None:
    """What a regular expression matches single characters with; None where it is made of more than is known here."""
    atoms, at = set(), 0
    while at < len(expression):
        if expression[at] == "[":
            end = _end_of_class(expression, at)
        elif found := STRUCTURE.match(expression, at):
            at = found.end()
            continue
        else:
            found = ESCAPE.match(expression, at) or PLAIN.match(expression, at)
            end = found.end() if found else None
        if end is None:
            return None
        atoms.add(expression[at:end])
        at = end
    return atoms


def _end_of_class(expression: str, start: int) -> int | None:
    """Behind the bracket that closes the one at `start`."""
    depth, at = 0, start
    while at < len(expression):
        depth += {"[": 1, "]": -1}.get(expression[at], 0)
        at += 2 if expression[at] == "\\" else 1
        if depth == 0:
            return at
    return None


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
