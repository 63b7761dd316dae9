"""The clean-up of texts before a tokenizer reads them, so that one foreign character does not erase a word.

WordPiece reads a word as [UNK] if it has no piece for one of its letters, and every [UNK] is alike. So the vocabulary
decides what becomes of a character:

1. What cannot be seen (zero-width, bidi, soft hyphen, BOM, controls) is dropped.
2. A rendering of another character (fullwidth, circled, a jamo without its syllable) becomes that character.
3. What the vocabulary reads stays as it is.
4. What it does not read becomes the nearest that it reads: ㎏ becomes kg, ê becomes e, 뭡 becomes 뭐ㅂ.
5. What is left, emoji among it, is cut out, and symbols that are read are cut off the word behind them.
"""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from tokenizers import Regex, Tokenizer, normalizers

from .charsmap import charsmap

BLANKS = "\u3164\uffa0"  # fillers of Hangul, used as spaces
INVISIBLE = rf"[\p{{Cc}}\p{{Cf}}\p{{Default_Ignorable_Code_Point}}&&[^\s{BLANKS}]]"
MIDDLE_DOT = "\u00b7"
MIDDLE_DOTS = "\u119e\u2024\u2027\u2219\u22c5\u30fb\u318d\uff65"  # typed in its place in Korean
# Where characters with another form are: blocks of Unicode that have long been full, so that the Unicode version of
# Python does not matter.
FOLDED_BLOCKS = (
    range(0x00A0, 0x1200),  # Latin to Hangul Jamo
    range(0x1D00, 0x2C00),  # phonetic and accented letters, super- and subscripts, numbers, enclosed letters
    range(0x3000, 0x3400),  # Hangul Compatibility Jamo, enclosed and squared Korean, Japanese and Chinese
    range(0xAC00, 0xD7A4),  # Hangul Syllables
    range(0xFB00, 0xFB07),  # Latin ligatures
    range(0xFE10, 0xFE70),  # vertical and small forms
    range(0xFF01, 0xFFEF),  # Halfwidth and Fullwidth Forms
    range(0x1D400, 0x1D800),  # Mathematical Alphanumeric Symbols
    range(0x1F100, 0x1F200),  # Enclosed Alphanumeric Supplement
)
RENDERINGS = ("<wide>", "<narrow>", "<font>", "<circle>")  # tags of decompositions that change looks, never meaning
APART = ("<circle>", "<fraction>")  # no part of the word that they touch: ①항목, 3½
HANJA = r"[\p{Han}&&\p{Lo}]"
WORD_START, WITHIN_WORD = (rf"(?<{sign}[^\s\p{{P}}$+<=>^`|~])" for sign in "!=")  # as BERT's tokenizers cut words


@dataclass(frozen=True)
class Alphabet:
    """What a tokenizer reads without its unknown token, by single characters.

    Attributes:
        alone: as a word.
        inside: as a later letter of a word.
        joined: within a longer piece of the vocabulary, if not otherwise.
        opening: those of `joined` with which a word's first piece begins.
        whole: there is no character that it does not read.
    """

    alone: frozenset[str]
    inside: frozenset[str]
    joined: frozenset[str]
    opening: frozenset[str]
    whole: bool

    @cached_property
    def known(self) -> frozenset[str]:
        return self.alone | self.inside | self.joined

    @cached_property
    def hanja(self) -> frozenset[str]:
        """The known Hanja, if they are read as letters of words; none if each is read as a word of its own."""
        letters = {letter for letter in self.known if unicodedata.name(letter, "").startswith("CJK UNIFIED")}
        return frozenset(letters if letters & self.alone != letters & self.inside else ())

    def reads(self, text: str) -> bool:
        """Whether a text can stand anywhere, inside a word as well as at its beginning."""
        return all(
            letter.isspace() or (letter in self.inside and (before.isalnum() or letter in self.alone))
            for before, letter in pairwise(f" {text}")
        )


def clean_up(tokenizer: Tokenizer) -> normalizers.Sequence:
    """The clean-up for what a tokenizer reads, to come before the normalizer that it has.

    It takes seconds: the tokenizer is asked about every character.
    """
    alphabet = find_alphabet(tokenizer)
    return normalizers.Sequence(
        [
            normalizers.Replace(Regex(INVISIBLE), ""),
            normalizers.NFC(),
            normalizers.Precompiled(charsmap(replacements(alphabet))),
            *(normalizers.Replace(Regex(pattern), " ") for pattern in _cuts(alphabet, tokenizer.get_vocab())),
        ]
    )


def find_alphabet(tokenizer: Tokenizer) -> Alphabet:
    """What a tokenizer reads, found out by letting it."""
    model = json.loads(tokenizer.to_str())["model"]
    unknown = tokenizer.token_to_id(model["unk_token"]) if model.get("unk_token") else model.get("unk_id")
    letters = [letter for letter in map(chr, range(sys.maxunicode + 1)) if _may_come(letter)]

    def read(texts: list[str]) -> frozenset[str]:
        codings = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        ids = (coding.ids for coding in codings)
        return frozenset(text[-1] for text, row in zip(texts, ids, strict=True) if row and unknown not in row)

    alone = read(letters)
    first = "가" if "가" in alone else min(filter(str.isalpha, alone), default="a")
    long = [piece for piece in tokenizer.get_vocab() if len(piece.removeprefix("##")) > 1]
    return Alphabet(
        alone=alone,
        inside=read([first + letter for letter in letters]),
        joined=frozenset(letter for piece in long for letter in piece.removeprefix("##")),
        opening=frozenset(piece[0] for piece in long if not piece.startswith("##")),
        whole=len(alone) == len(letters),
    )


def _may_come(letter: str) -> bool:
    """Whether a character can be in a text after NFC and is to be read: no space, surrogate or one of private use."""
    return (
        unicodedata.category(letter) not in ("Cn", "Co", "Cs")
        and not letter.isspace()
        and unicodedata.is_normalized("NFC", letter)
    )


def replacements(alphabet: Alphabet) -> dict[str, str]:
    """What takes a character's place, for every character that does not stay as it is."""
    table = dict.fromkeys(BLANKS, " ")
    for letter in (chr(point) for block in FOLDED_BLOCKS for point in block):
        if not _may_come(letter) or letter in table:
            continue
        kept = [letter] if letter in alphabet.known else []
        rendered, nearest = _forms(letter)
        forms = [*rendered, *kept, *nearest]
        best = next((form for form in forms if form in kept or (form != " " and alphabet.reads(form))), letter)
        if best != letter:
            table[letter] = best
    for letter in alphabet.alone - alphabet.inside - alphabet.joined - alphabet.hanja:
        table.setdefault(letter, f" {letter}" if letter.isalpha() else f" {letter} ")
    return table


def _forms(letter: str) -> tuple[list[str], list[str]]:
    """Other forms of a character, best first: what it is a rendering of, and what is merely near to it."""
    tag, *points = unicodedata.decomposition(letter).split() or [""]
    category, number = unicodedata.category(letter), unicodedata.numeric(letter, None)
    if letter in MIDDLE_DOTS:
        return [MIDDLE_DOT], []
    if "\u1100" <= letter <= "\u11ff":
        return [_as_letters(letter)], []
    if tag in RENDERINGS:
        form = _as_letters("".join(chr(int(point, 16)) for point in points))
        return [f" {form} " if tag in APART else form], []
    if "가" <= letter <= "힣":
        consonant, vowel, *last = list(unicodedata.normalize("NFD", letter))
        syllable = unicodedata.normalize("NFC", consonant + vowel)
        return [], [syllable + _as_letters("".join(last)), syllable]
    if category in ("Nd", "No") and not points and number is not None and number.is_integer():
        return [], [f" {int(number)} " if category == "No" else str(int(number))]
    if category == "So" and tag == "<super>":  # ™, which is no part of the name
        return [], []
    form = _as_letters(unicodedata.normalize("NFKC", letter)).replace("\u2044", "/")
    bare = "".join(c for c in unicodedata.normalize("NFKD", form) if unicodedata.category(c) != "Mn")
    return [], [f" {form} " if tag in APART else form, bare]


def _as_letters(text: str) -> str:
    """Jamo that make no syllable as letters of their own: ᄏ as ㅋ."""
    composed = unicodedata.normalize("NFC", text)
    return "".join(_letter(c) if "\u1100" <= c <= "\u11ff" else c for c in composed)


def _letter(jamo: str) -> str:
    _, _, name = unicodedata.name(jamo).removeprefix("HANGUL ").partition(" ")
    try:
        return unicodedata.lookup(f"HANGUL LETTER {name}")
    except KeyError:  # some of old Korean
        return jamo


def _cuts(alphabet: Alphabet, vocabulary: Iterable[str]) -> Iterator[str]:
    """Patterns of what a space takes the place of."""
    glued = {first for piece in vocabulary for first, second in pairwise(piece) if second.isalnum()}
    symbols = {c for c in alphabet.inside - glued if not c.isascii() and unicodedata.category(c).startswith("S")}
    if symbols:
        yield rf"(?<={_any_of(symbols)})(?=[\p{{L}}\p{{N}}])"
    if alphabet.hanja:
        yield _unread_hanja(alphabet, vocabulary)
    if not alphabet.whole:
        later = _any_of(alphabet.inside - alphabet.alone - alphabet.opening)  # what no word can begin with
        yield rf"{_any_of(alphabet.known, but=True)}+{later}*|{WORD_START}{later}+"


def _unread_hanja(alphabet: Alphabet, vocabulary: Iterable[str]) -> str:
    """A pattern of the words of Hanja that are not read whole: what is left of one would mean something else."""
    long = [piece for piece in vocabulary if len(piece) > 1 and alphabet.hanja.issuperset(piece.removeprefix("##"))]
    long.sort(key=lambda piece: (-len(piece), piece))
    first = "|".join([*(p for p in long if not p.startswith("##")), _any_of(alphabet.hanja & alphabet.alone)])
    later = "|".join([*(p[2:] for p in long if p.startswith("##")), _any_of(alphabet.hanja & alphabet.inside)])
    readable = rf"(?:{WITHIN_WORD}|{WORD_START}(?:{first}))(?:{later})*+(?!{HANJA})"
    return rf"(?={HANJA})(?<!{HANJA})(?!{readable}){HANJA}+"  # looks for Hanja first, which is what makes it fast


def _any_of(letters: Iterable[str], *, but: bool = False) -> str:
    """A pattern of one of the characters, or with `but` of one that is none of them and no space."""
    ranges: list[list[int]] = []
    for point in sorted(map(ord, letters)):
        if ranges and point == ranges[-1][1] + 1:
            ranges[-1][1] = point
        else:
            ranges.append([point, point])
    inner = "".join(rf"\x{{{low:X}}}" + (rf"-\x{{{high:X}}}" if high > low else "") for low, high in ranges)
    return rf"[^\s{inner}]" if but else f"[{inner or 'a&&b'}]"
