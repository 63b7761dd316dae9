from __future__ import annotations

from pathlib import Path

import pytest

from spladert import InputError
from spladert.bench.texts import make_texts
from spladert.bundle import open_bundle
from spladert.tokenizer import load_tokenizer


@pytest.mark.parametrize("tokens", [3, 8, 64])
def test_texts_have_the_wanted_length_and_are_always_the_same(tokens: int) -> None:
    tokenizer, uncut = (load_tokenizer(open_bundle().tokenizer_json(), longest) for longest in (64, 1000))
    texts = make_texts(tokenizer, tokens, 20)
    assert [len(uncut.encode(text).ids) for text in texts] == [tokens] * 20
    assert len(set(texts)) == 20
    assert make_texts(tokenizer, tokens, 20) == texts


@pytest.mark.parametrize(
    ("tokens", "message"),
    [(2, "no text of 2 tokens can be made"), (65, "only 0 of 80 made texts have 65 tokens; 20 are needed")],
)
def test_a_length_that_cannot_be_is_refused(tokens: int, message: str) -> None:
    tokenizer = load_tokenizer(open_bundle().tokenizer_json(), 64)
    with pytest.raises(InputError, match=message):
        make_texts(tokenizer, tokens, 20)


def test_other_tokenizers(tiny_bundle: Path) -> None:
    opened = open_bundle(tiny_bundle)
    tokenizer = load_tokenizer(opened.tokenizer_json(), opened.manifest.max_length)
    assert {len(tokenizer.encode(text).ids) for text in make_texts(tokenizer, 16, 20)} == {16}
