"""Made-up texts of a wanted number of tokens, for bundles of any language."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from ..tokenizer import tokenize

if TYPE_CHECKING:
    from tokenizers import Tokenizer


def make_texts(tokenizer: Tokenizer, tokens: int, count: int) -> list[str]:
    """`count` texts of exactly `tokens` tokens, special tokens included, of the tokenizer's own words; always the same.

    Raises:
        InputError: no such text can be made: fewer tokens than a word needs, more than the tokenizer cuts at, or words
            that do not come back as they went in.
    """
    special = len(tokenize(tokenizer, [""]).input_ids[0])
    words = [word for word in tokenizer.get_vocab() if word.isalpha() and len(word) > 1]
    alone = tokenize(tokenizer, words).input_ids
    words = sorted(word for word, ids in zip(words, alone, strict=True) if len(ids) == special + 1)
    if not words or tokens <= special:
        raise InputError(f"no text of {tokens} tokens can be made for this bundle, which puts {special} around a text")
    random = np.random.default_rng(0)
    texts = [" ".join(random.choice(words, tokens - special).tolist()) for _ in range(4 * count)]
    tokenized = tokenize(tokenizer, texts)
    rows = zip(texts, tokenized.input_ids, tokenized.truncated, strict=True)
    fitting = [text for text, ids, truncated in rows if len(ids) == tokens and not truncated]
    if len(fitting) < count:
        raise InputError(f"only {len(fitting)} of {len(texts)} made texts have {tokens} tokens; {count} are needed")
    return fitting[:count]
