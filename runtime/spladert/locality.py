"""Whether the first tokens of a text depend on its beginning alone, so that a long one need not be tokenized whole.

A text is cut in front of white space that follows something else. Its beginning then has the very tokens that it has in
the whole text if nothing in the tokenizer looks across such a place: its normalizer changes each word by itself and
leaves white space there, its pre-tokenizer ends a word at that, and no token of its own list reaches across. That is
told by the names of the tokenizer's parts, and by what they make of each white space; what is not listed here is taken
to look across.
"""

from __future__ import annotations

import json
import re
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokenizers import AddedToken, Tokenizer

WHITE_SPACE = (
    "\t\n\x0b\x0c\r \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000"
)
# Characters that belong together with the one behind them (Unicode's Prepend): a map of characters as SentencePiece has
# it may change both as one.
PREPENDED = [
    *map(chr, (*range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0xD4E, 0x110BD, 0x110CD, 0x111C2, 0x111C3)),
    *map(chr, (0x1193F, 0x11941, 0x11A3A, *range(0x11A84, 0x11A8A), 0x11D46, 0x11F02)),
]
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
KNOWN_PRE_TOKENIZERS = ENDS_AT_SPACE | CUTS_FURTHER | {"ByteLevel", "Metaspace"}


def ends_of_words(tokenizer: Tokenizer) -> re.Pattern[str] | None:
    """What matches the last character of a word behind which a text can be cut, with the same tokens up to there.

    None where there is no such place.
    """
    if any(map(_reaches_across, tokenizer.get_added_tokens_decoder().values())):
        return None
    seen = {space: space for space in WHITE_SPACE}  # as the next part sees it
    for part in _parts(tokenizer.normalizer, "normalizers"):
        images = _images(part, set(seen.values()))
        seen = {space: images[image] for space, image in seen.items() if image in images}
    pre_tokenizers = _parts(tokenizer.pre_tokenizer, "pretokenizers")
    places = "".join(space for space, image in seen.items() if _ends_word(pre_tokenizers, image))
    return re.compile(rf"\S(?=[{places}])") if places else None


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


def _images(normalizer: dict[str, Any], spaces: set[str]) -> dict[str, str]:
    """What a normalizer makes of white space that follows something else, `{before: the first character after}`.

    It has those in front of which a text can be cut without a change: they stay white space, and what is before them is
    the same as at the end of a text.
    """
    from tokenizers import normalizers

    kind = normalizer["type"]
    if kind == "Replace":
        pattern = normalizer["pattern"]
        if "Regex" in pattern:
            unseen = _unseen(pattern["Regex"], spaces)
            return {space: space for space in unseen}
        return {} if any(character.isspace() for character in pattern["String"]) else {space: space for space in spaces}
    if kind not in LOCAL_NORMALIZERS:
        return {}
    part = normalizers.NFC()
    part.__setstate__(json.dumps(normalizer).encode())
    change = part.normalize_str
    images = {space: image[0] for space in spaces if (image := change(space))[:1].isspace()}
    if kind == "Precompiled":
        alone = {character: change(character) for character in PREPENDED}
        return {s: i for s, i in images.items() if all(change(c + s) == alone[c] + change(s) for c in PREPENDED)}
    return images


def _unseen(expression: str, spaces: set[str]) -> set[str]:
    """The white space that is the same to a regular expression as the end of the text.

    So it is if none of its atoms matches it, for then neither a match nor a look ahead gets past it.
    """
    from tokenizers import Regex
    from tokenizers.normalizers import Replace

    atoms = _atoms(expression)
    if atoms is None:
        return set()
    text = "".join(spaces)
    return spaces.intersection(*(Replace(Regex(atom), "").normalize_str(text) for atom in atoms))


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


def _ends_word(pre_tokenizers: list[dict[str, Any]], space: str) -> bool:
    """Whether a word ends in front of white space that follows something else, as normalized."""
    if not all(part["type"] in KNOWN_PRE_TOKENIZERS for part in pre_tokenizers):
        return False
    for part in pre_tokenizers:
        kind = part["type"]
        if kind == "ByteLevel":  # GPT-2's expression begins a new word at a space, and takes runs of spaces whole
            return bool(part.get("use_regex", True))
        if kind == "Metaspace" and space == " ":  # it is another character from here on
            return bool(part.get("split", True))
        if kind in ENDS_AT_SPACE:
            return True
    return False


def _reaches_across(added: AddedToken) -> bool:
    """Whether white space that follows something else is inside the token, or belongs to it (`rstrip`, `lstrip`)."""
    inside = any(b.isspace() and not a.isspace() for a, b in pairwise(added.content))
    return inside or added.rstrip or added.lstrip
