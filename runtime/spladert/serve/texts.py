"""From the inputs of a request to token ids, and back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from itertools import accumulate
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ..encoder import SparseEncoder
from ..errors import InputError
from ..tokenizer import Side, TokenizedTexts, load_tokenizer
from .refusals import empty, invalid, too_large, untokenizable

if TYPE_CHECKING:
    from tokenizers import Tokenizer

T = TypeVar("T")

# Characters that are tokenized within the event loop, in about 0.2 ms: a thread's start and end would take as long.
INLINE = 1000


class Texts:
    """Checks and tokenizes the inputs of requests, each in the way of its endpoint."""

    def __init__(self, encoder: SparseEncoder, *, max_client_batch_size: int, max_text_length: int) -> None:
        self._encoder, self._json = encoder, encoder.bundle.tokenizer_json()
        self._max_texts, self._max_characters = max_client_batch_size, max_text_length
        self._left: dict[int, Tokenizer] = {}  # by the most tokens

    def check(self, texts: Sequence[str | Sequence[int]], name: str = "inputs") -> int:
        """The characters (of ids, their number) of a request's texts.

        Raises:
            RefusalError: there are none, too many, or one is too long.
        """
        if not texts:
            raise empty(name)
        if len(texts) > self._max_texts:
            raise too_large(f"batch size {len(texts)} > maximum allowed batch size {self._max_texts}")
        longest = max(map(len, texts))
        if longest > self._max_characters:
            raise invalid(f"`{name}` must have at most {self._max_characters} characters. Given: {longest}")
        for position, text in enumerate(texts):
            if isinstance(text, str) and not text.isascii():
                try:
                    text.encode()
                except UnicodeEncodeError:
                    raise untokenizable(f"tokenizer error: `{name}` {position} has a lone surrogate") from None
        return sum(map(len, texts))

    def side(self, prompt_name: str | None) -> Side | None:
        """The side of a search that a prompt's name stands for.

        Raises:
            RefusalError: the bundle has no such prompt.
        """
        if prompt_name is None:
            return None
        manifest = self._encoder.manifest
        known = set(manifest.prompts)
        if manifest.query_table is not None or manifest.query_max_length or manifest.document_max_length:
            known |= {"query", "document"}
        if prompt_name == "query" and "query" in known:
            return "query"
        if prompt_name == "document" and "document" in known:
            return "document"
        names = ", ".join(sorted(known & {"query", "document"})) or "none"
        raise invalid(f"`prompt_name` is not a prompt of this model. Available prompts: {names}")

    async def encode(self, texts: Sequence[str], side: Side, max_length: int | None) -> TokenizedTexts:
        """As `SparseEncoder.encode` tokenizes.

        Raises:
            RefusalError: as `check`, or `max_length` is out of range.
        """
        characters = self.check(texts)
        try:
            return await _near(
                characters, partial(self._encoder.tokenize_batch, texts, side=side, max_length=max_length)
            )
        except InputError as error:
            raise invalid(str(error)) from None

    async def embed(
        self, inputs: Sequence[str | list[int]], side: Side | None, *, truncate: bool, left: bool
    ) -> TokenizedTexts:
        """As text-embeddings-inference tokenizes: no empty text, long ones refused unless `truncate`; ids as they are.

        Raises:
            RefusalError: as `check`, an input is empty or too long, or an id is not in the vocabulary.
        """
        characters = self.check(inputs)
        if not all(inputs):
            raise empty("inputs")
        texts = [text for text in inputs if isinstance(text, str)]
        most = self.longest(side)
        if truncate and not left:
            tokenized = await _near(characters, partial(self._encoder.tokenize_batch, texts, side=side))
        else:
            rows = await _near(characters, partial(self._rows, texts, side, most if truncate else None))
            tokenized = TokenizedTexts(rows, np.zeros(len(rows), np.bool_))
        own = iter(tokenized.input_ids)
        size = self._encoder.manifest.vocabulary_size
        merged: list[list[int]] = []
        for text in inputs:
            row = next(own) if isinstance(text, str) else text
            if not isinstance(text, str) and max(text) >= size:
                raise untokenizable(f"tokenizer error: id {max(text)} is not below {size}, the vocabulary's size")
            if len(row) > most:
                if not truncate:
                    raise invalid(f"`inputs` must have less than {most} tokens. Given: {len(row)}")
                row = row[-most:] if left else row[:most]
            merged.append(row)
        if len(texts) == len(inputs):
            return TokenizedTexts(merged, tokenized.truncated)
        return TokenizedTexts(merged, np.zeros(len(merged), np.bool_))

    async def tokens(
        self, texts: Sequence[str], side: Side | None, *, special_tokens: bool
    ) -> list[list[dict[str, Any]]]:
        """The tokens of whole texts, uncut, with where their characters are (in prompt and text)."""
        characters = self.check(texts)
        prompt = self._prompt(side)
        prompted = [prompt + text for text in texts]
        encodings = await _near(
            characters, partial(self._whole.encode_batch, prompted, add_special_tokens=special_tokens)
        )
        return [_simple_tokens(text, encoding) for text, encoding in zip(prompted, encodings, strict=True)]

    async def decode(self, rows: Sequence[Sequence[int]], *, skip_special_tokens: bool) -> list[str]:
        """Texts of token ids.

        Raises:
            RefusalError: as `check`, a row is empty, or an id is not in the vocabulary.
        """
        count = self.check(rows, "ids")
        if not all(rows):
            raise empty("ids")
        size = self._encoder.manifest.vocabulary_size
        if (highest := max(map(max, rows))) >= size:
            raise untokenizable(f"tokenizer error: id {highest} is not below {size}, the vocabulary's size")
        return await _near(count, partial(self._whole.decode_batch, rows, skip_special_tokens=skip_special_tokens))

    def longest(self, side: Side | None) -> int:
        """The most tokens of a text."""
        manifest = self._encoder.manifest
        own = {"query": manifest.query_max_length, "document": manifest.document_max_length}.get(side or "")
        return own or manifest.max_length

    @cached_property
    def _whole(self) -> Tokenizer:
        """The bundle's tokenizer, which does not cut."""
        tokenizer = load_tokenizer(self._json, self._encoder.manifest.max_length)
        tokenizer.no_truncation()
        return tokenizer

    def _prompt(self, side: Side | None) -> str:
        return self._encoder.manifest.prompts.get(side, "") if side is not None else ""

    def _rows(self, texts: Sequence[str], side: Side | None, last: int | None) -> list[list[int]]:
        """Token ids, all of them or the `last` ones (special tokens included)."""
        prompt = self._prompt(side)
        tokenizer = self._whole if last is None else self._cutting_left(last)
        looked_up = side == "query" and self._encoder.manifest.query_table is not None
        encodings = tokenizer.encode_batch_fast([prompt + text for text in texts], add_special_tokens=not looked_up)
        return [encoding.ids for encoding in encodings]

    def _cutting_left(self, max_length: int) -> Tokenizer:
        if max_length not in self._left:
            tokenizer = load_tokenizer(self._json, max_length)
            tokenizer.enable_truncation(max_length, direction="left")
            self._left[max_length] = tokenizer
        return self._left[max_length]


def _simple_tokens(text: str, encoding: Any) -> list[dict[str, Any]]:
    """As in text-embeddings-inference, places are counted in bytes of UTF-8, and special tokens have none."""
    ends = list(accumulate((len(character.encode()) for character in text), initial=0))
    return [
        {
            "id": token_id,
            "text": token if special else text[start:stop],
            "special": bool(special),
            "start": None if special else ends[start],
            "stop": None if special else ends[stop],
        }
        for token_id, token, special, (start, stop) in zip(
            encoding.ids, encoding.tokens, encoding.special_tokens_mask, encoding.offsets, strict=True
        )
    ]


async def _near(characters: int, work: Callable[[], T]) -> T:
    """Small work at once, large work in a thread, so that the event loop goes on."""
    if characters <= INLINE:
        return work()
    return await asyncio.get_running_loop().run_in_executor(None, work)
