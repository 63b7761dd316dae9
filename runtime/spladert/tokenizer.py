"""Text to token ids, cut to the model's length; one clear error for what cannot be tokenized."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from numbers import Integral
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from .bundle import Manifest
from .errors import BundleError, InputError
from .locality import ends_of_words, longest_read_word

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from tokenizers import Encoding, Tokenizer

# Characters of a long text that are tokenized first, for each token that it may have: Korean and English words have
# two to six characters a token, so that little is tokenized twice.
CHARACTERS_PER_TOKEN = 16
GROWTH = 8  # times as many where those gave too few tokens


def load_tokenizer(tokenizer_json: str, max_length: int) -> Tokenizer:
    """A tokenizer that cuts to `max_length` tokens, special tokens included, and never pads.

    It cuts at the side that the file's own truncation names, by default the right.

    Raises:
        BundleError: the JSON is not a tokenizer.
    """
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_str(tokenizer_json)
    except Exception as error:  # tokenizers raises bare Exception
        raise BundleError(f"tokenizer.json is not a tokenizer ({error}); export the bundle again") from None
    tokenizer.no_padding()
    direction = (tokenizer.truncation or {}).get("direction", "right")
    tokenizer.enable_truncation(max_length, direction=direction)
    return tokenizer


Side = Literal["query", "document"]


@dataclass(frozen=True)
class TokenizedTexts:
    """Texts as token ids.

    Attributes:
        input_ids: a row a text, special tokens included; empty where a text has no tokens at all.
        truncated: bool [texts], which ones were cut.
    """

    input_ids: list[list[int]]
    truncated: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.input_ids)


def check_side(side: Side | None) -> Side | None:
    """The side, if it is one.

    Raises:
        InputError: it is not.
    """
    if side not in (None, "query", "document"):
        raise InputError(f"side is {side!r}; give 'query' or 'document', or leave it out")
    return side


def check_texts(texts: Iterable[object]) -> list[str]:
    """The texts as a list of str.

    Raises:
        InputError: `texts` is no iterable of texts, or an item is not a str; the message gives its position.
    """
    if isinstance(texts, str):
        raise InputError("texts is a single str, each character of which would be a text; write [text]")
    no_texts = isinstance(texts, bytes | bytearray | memoryview | Mapping)
    no_texts = no_texts or (isinstance(texts, np.ndarray) and texts.ndim == 0)  # says it is iterable, and is not
    if no_texts or not isinstance(texts, Iterable):
        raise InputError(f"texts is {type(texts).__name__}; give a str or a sequence of str")
    checked: list[str] = []
    for position, text in enumerate(texts):
        if not isinstance(text, str):
            raise InputError(f"text {position} is {type(text).__name__}, not str; give strings only")
        checked.append(text)
    return checked


def tokenize(
    tokenizer: Tokenizer,
    texts: Sequence[str],
    *,
    max_length: int | None = None,
    special_tokens: bool = True,
    ends: re.Pattern[str] | None = None,
) -> TokenizedTexts:
    """Token ids of each text.

    Args:
        tokenizer: one of `load_tokenizer`.
        texts: any str.
        max_length: cut to fewer tokens than the tokenizer does.
        special_tokens: with the special tokens around a text.
        ends: where a long text may be cut, to tokenize only as much of it as gives its first tokens: the tokenizer's
            `ends_of_words`, for right-hand cuts.

    Raises:
        InputError: a text holds a lone surrogate, which no tokenizer can take; the message gives its position.
    """
    truncation: dict[str, Any] = tokenizer.truncation or {}
    longest = int(truncation["max_length"])
    size = CHARACTERS_PER_TOKEN * longest
    given = texts
    pieces = [_beginning(text, size, ends) for text in texts]
    if ends is not None and any(len(piece) > GROWTH * size for piece in pieces):  # rare: no white space for long
        texts = _without_endless_words(tokenizer, texts, size)
        pieces = [_beginning(text, size, ends) for text in texts]
    try:
        encodings = tokenizer.encode_batch_fast(pieces, add_special_tokens=special_tokens)
        for i, text in enumerate(texts):
            while len(pieces[i]) < len(text) and not encodings[i].overflowing:  # too few tokens so far
                pieces[i] = _beginning(text, GROWTH * len(pieces[i]), ends)
                [encodings[i]] = tokenizer.encode_batch_fast([pieces[i]], add_special_tokens=special_tokens)
    except Exception:
        _refuse_surrogates(enumerate(given))
        raise
    _refuse_surrogates((i, text) for i, text in enumerate(given) if len(pieces[i]) < len(text))
    truncated = np.fromiter((bool(encoding.overflowing) for encoding in encodings), np.bool_, len(encodings))
    if max_length is None or max_length >= longest:
        return TokenizedTexts([encoding.ids for encoding in encodings], truncated)
    over = [len(encoding) > max_length for encoding in encodings]
    left = truncation["direction"] == "left"
    rows = [_cut(e, max_length, left=left) if o else e.ids for e, o in zip(encodings, over, strict=True)]
    return TokenizedTexts(rows, truncated | np.array(over, np.bool_))


def _beginning(text: str, size: int, ends: re.Pattern[str] | None) -> str:
    """The text up to the first end of a word behind its first `size` characters."""
    if ends is None or len(text) <= size:
        return text
    found = ends.search(text, size)
    return text if found is None else text[: found.start() + 1]


def _without_endless_words(tokenizer: Tokenizer, texts: Sequence[str], size: int) -> list[str]:
    """The texts; in those of more than `size` characters, Korean words too long to be read are cut to still be so."""
    most = longest_read_word(tokenizer)
    if most is None:
        return list(texts)
    endless = re.compile(f"([가-힣]{{{most + 1}}})[가-힣]+")
    return [endless.sub(r"\1", text) if len(text) > size else text for text in texts]


def _cut(encoding: Encoding, max_length: int, *, left: bool) -> list[int]:
    """The ids of a shorter cut: the special tokens around a text stay."""
    ids, special = encoding.ids, encoding.special_tokens_mask
    before = special.index(0) if 0 in special else len(special)
    after = special[::-1].index(0) if 0 in special else 0
    room = max_length - before - after
    content = ids[before : len(ids) - after]
    kept = content[len(content) - room :] if left else content[:room]
    return [*ids[:before], *kept, *ids[len(ids) - after :]]


def _refuse_surrogates(texts: Iterable[tuple[int, str]]) -> None:
    for position, text in texts:
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise InputError(
                f"text {position} has a lone surrogate (U+{ord(text[error.start]):04X}) at character "
                f"{error.start}, which is not valid Unicode; clean it, for example with "
                "text.encode('utf-8', 'replace').decode('utf-8')"
            ) from None


class TextTokenizer:
    """A bundle's tokenizer with what the bundle says of the two sides of a search.

    Raises:
        BundleError: the JSON is not a tokenizer, or not the graph's.
    """

    def __init__(self, tokenizer_json: str, manifest: Manifest) -> None:
        self._json, self._manifest = tokenizer_json, manifest
        self._tokenizer = load_tokenizer(tokenizer_json, manifest.max_length)
        size = self._tokenizer.get_vocab_size()
        if size > manifest.vocabulary_size:
            raise BundleError(
                f"the bundle's tokenizer has {size} tokens, its graph {manifest.vocabulary_size}; export it again"
            )

    def __call__(
        self,
        texts: Iterable[str],
        *,
        side: Side | None = None,
        max_length: int | None = None,
        split_special_tokens: bool = False,
        special_tokens: bool = True,
    ) -> TokenizedTexts:
        """See `SparseEncoder.tokenize_batch`."""
        prompt = self.prompt(side)
        checked = check_texts(texts)
        prompted = [prompt + text for text in checked] if prompt else checked
        is_long = max(map(len, prompted), default=0) > CHARACTERS_PER_TOKEN * self._manifest.max_length
        return tokenize(
            self._splitting if split_special_tokens else self._tokenizer,
            prompted,
            max_length=self.length(side, max_length),
            special_tokens=special_tokens and not self.looks_up(side),
            ends=self._ends if is_long else None,
        )

    def all_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """All token ids of each text, however long it is, without special tokens and prompts.

        Raises:
            InputError: a text holds a lone surrogate.
        """
        try:
            return [encoding.ids for encoding in self._whole.encode_batch_fast(texts, add_special_tokens=False)]
        except Exception:
            _refuse_surrogates(enumerate(texts))
            raise

    def content_ids(
        self, texts: Sequence[str], input_ids: Sequence[Sequence[int]], cut: NDArray[np.bool_]
    ) -> list[Sequence[int]]:
        """`all_ids` of texts that were read before, tokenizing only those that were cut.

        Args:
            texts: what was read, without prompts.
            input_ids: what it was read as, special tokens around it included.
            cut: bool [texts], which of them are longer than that.
        """
        before, after = self._around
        found = [row[before : len(row) - after] for row in input_ids]
        positions = cut.nonzero()[0].tolist()
        for position, ids in zip(positions, self.all_ids([texts[i] for i in positions]), strict=True):
            found[position] = ids
        return found

    @cached_property
    def _around(self) -> tuple[int, int]:
        """How many special tokens stand before a text, and after it."""
        special = self._tokenizer.encode("0").special_tokens_mask
        before = special.index(0) if 0 in special else 0
        return before, sum(special) - before

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """(begin, end) of each token of `all_ids` in the text's characters."""
        [encoding] = self._whole.encode_batch([text], add_special_tokens=False)
        return list(encoding.offsets)

    def characters_read(self, text: str, *, side: Side | None = None, max_length: int | None = None) -> int:
        """How many characters of a text that is too long the model reads, from its first token to its last."""
        prompt, kept = self.prompt(side), self.length(side, max_length)
        whole = prompt + text
        size = CHARACTERS_PER_TOKEN * self._manifest.max_length
        while True:
            piece = _beginning(whole, size, self._ends)
            [encoding] = self._tokenizer.encode_batch([piece], add_special_tokens=not self.looks_up(side))
            if encoding.overflowing or len(piece) == len(whole):
                break
            size = GROWTH * len(piece)
        pairs = zip(encoding.offsets, encoding.special_tokens_mask, strict=True)
        content = [offsets for offsets, special in pairs if not special]
        room = kept - (len(encoding) - len(content))
        left = (self._tokenizer.truncation or {}).get("direction") == "left"
        read = content[-room:] if left else content[:room]
        return max(read[-1][1] - max(read[0][0], len(prompt)), 0) if read else 0

    def room(self, side: Side | None, max_length: int | None = None) -> int:
        """Tokens of a text that the model reads, the special tokens and the prompt around it not counted.

        Raises:
            InputError: an argument is out of range, or nothing is left of the length.
        """
        length, prompt = self.length(side, max_length), self.prompt(side)
        around = self._special_tokens(side) + len(self.all_ids([prompt])[0])
        if around >= length:
            raise InputError(f"a prompt of {around} tokens leaves nothing of {length}; give a larger max_length")
        return length - around

    @cached_property
    def _ends(self) -> re.Pattern[str] | None:
        """Where a long text may be cut before it is tokenized; finding that out is spared where all texts are short."""
        right = (self._tokenizer.truncation or {}).get("direction") == "right"
        return ends_of_words(self._tokenizer) if right else None

    @cached_property
    def _whole(self) -> Tokenizer:
        """The tokenizer that cuts nothing."""
        tokenizer = load_tokenizer(self._json, self._manifest.max_length)
        tokenizer.no_truncation()
        return tokenizer

    @cached_property
    def tokens(self) -> NDArray[np.object_]:
        """The vocabulary's tokens by id, object array of str [vocabulary_size], no two alike.

        Ids beyond the tokenizer's tokens exist where a checkpoint pads its vocabulary: "[unused ID]".
        """
        names = [self._tokenizer.id_to_token(i) or f"[unused {i}]" for i in range(self._manifest.vocabulary_size)]
        return np.array(_unique(names), dtype=object)

    @cached_property
    def _splitting(self) -> Tokenizer:
        """The tokenizer to which its special tokens are text like any other."""
        tokenizer = load_tokenizer(self._json, self._manifest.max_length)
        tokenizer.encode_special_tokens = True
        return tokenizer

    def looks_up(self, side: Side | None) -> bool:
        """Whether texts are looked up in a table, and not run: special tokens around them would weigh something."""
        return side == "query" and self._manifest.query_table is not None

    def _special_tokens(self, side: Side | None) -> int:
        """How many special tokens are put around a text."""
        return 0 if self.looks_up(side) else int(self._tokenizer.num_special_tokens_to_add(False))

    def prompt(self, side: Side | None) -> str:
        """What is put before a text, "" if nothing is."""
        prompts = self._manifest.prompts
        return prompts.get(side or "default", prompts.get("default", ""))

    def length(self, side: Side | None, asked: int | None = None) -> int:
        """Tokens that a text is cut to, special tokens and prompt included; `asked` is shorter than the side's.

        Raises:
            InputError: an argument is out of range.
        """
        check_side(side)
        manifest = self._manifest
        own = {"query": manifest.query_max_length, "document": manifest.document_max_length}.get(side or "")
        most = own or manifest.max_length
        if asked is None:
            return most
        least = self._special_tokens(side) + 1
        if not isinstance(asked, Integral) or not least <= asked <= most:
            raise InputError(
                f"max_length is {asked!r}; this bundle takes {least} to {most} tokens "
                "(spladert export --max-length makes one for longer texts)"
            )
        return int(asked)


def _unique(tokens: Sequence[str]) -> list[str]:
    """The tokens, made unique: as keys of an object, two ids must not fall on one name.

    The lowest id keeps the bare token, another one gets `token#id`.
    """
    names: dict[str, None] = {}
    for i, token in enumerate(tokens):
        name = token
        while name in names:
            name = f"{name}#{i}"
        names[name] = None
    return list(names)
