"""Text to token ids, cut to the model's length; one clear error for what cannot be tokenized."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .errors import BundleError, InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from tokenizers import Tokenizer


def load_tokenizer(tokenizer_json: str, max_length: int) -> Tokenizer:
    """A tokenizer that cuts to `max_length` tokens, special tokens included, and never pads.

    Raises:
        BundleError: the JSON is not a tokenizer.
    """
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_str(tokenizer_json)
    except Exception as error:  # tokenizers raises bare Exception
        raise BundleError(f"tokenizer.json is not a tokenizer ({error}); export the bundle again") from None
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length)
    return tokenizer


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


def check_texts(texts: Iterable[object]) -> list[str]:
    """The texts as a list of str.

    Raises:
        InputError: `texts` is no iterable of texts, or an item is not a str; the message gives its position.
    """
    no_texts = isinstance(texts, bytes | bytearray | memoryview | Mapping | str)
    no_texts = no_texts or (isinstance(texts, np.ndarray) and texts.ndim == 0)  # says it is iterable, and is not
    if no_texts or not isinstance(texts, Iterable):
        raise InputError(f"texts is {type(texts).__name__}; give a str or a sequence of str")
    checked: list[str] = []
    for position, text in enumerate(texts):
        if not isinstance(text, str):
            raise InputError(f"text {position} is {type(text).__name__}, not str; give strings only")
        checked.append(text)
    return checked


def tokenize(tokenizer: Tokenizer, texts: Sequence[str], *, special_tokens: bool = True) -> TokenizedTexts:
    """Token ids of each text, with or without the special tokens around it.

    Raises:
        InputError: a text holds a lone surrogate, which no tokenizer can take; the message gives its position.
    """
    try:
        encodings = tokenizer.encode_batch_fast(texts, add_special_tokens=special_tokens)
    except Exception:
        for position, text in enumerate(texts):
            try:
                text.encode("utf-8")
            except UnicodeEncodeError as error:
                raise InputError(
                    f"text {position} has a lone surrogate (U+{ord(text[error.start]):04X}) at character "
                    f"{error.start}, which is not valid Unicode; clean it, for example with "
                    "text.encode('utf-8', 'replace').decode('utf-8')"
                ) from None
        raise
    truncated = np.fromiter((bool(encoding.overflowing) for encoding in encodings), np.bool_, len(encodings))
    return TokenizedTexts([encoding.ids for encoding in encodings], truncated)
