"""Text to token ids, cut to the model's length; one clear error for what cannot be tokenized."""

from __future__ import annotations

from collections.abc import Sequence
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


def check_texts(texts: Sequence[object]) -> list[str]:
    """The texts as a list of str.

    Raises:
        InputError: an item is not a str; the message gives its position.
    """
    for position, text in enumerate(texts):
        if not isinstance(text, str):
            raise InputError(f"text {position} is {type(text).__name__}, not str; give strings only")
    return list(texts)  # type: ignore[arg-type]


def tokenize(tokenizer: Tokenizer, texts: Sequence[str], *, special_tokens: bool = True) -> list[list[int]]:
    """Token ids of each text, with or without the special tokens around it.

    Raises:
        InputError: a text holds a lone surrogate, which no tokenizer can take; the message gives its position.
    """
    try:
        return [encoding.ids for encoding in tokenizer.encode_batch_fast(texts, add_special_tokens=special_tokens)]
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


def pad(rows: Sequence[Sequence[int]], pad_token_id: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """`input_ids` and `attention_mask`, int64 [batch, longest row]."""
    longest = max(len(row) for row in rows)
    input_ids = np.full((len(rows), longest), pad_token_id, dtype=np.int64)
    attention_mask = np.zeros_like(input_ids)
    for i, row in enumerate(rows):
        input_ids[i, : len(row)] = row
        attention_mask[i, : len(row)] = 1
    return input_ids, attention_mask
