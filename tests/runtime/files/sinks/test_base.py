from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from spladert import SparseEncoder
from spladert.files import Vocabulary
from spladert.files.sinks.base import unique_names


@given(st.lists(st.text(max_size=2)))
def test_names_are_unique_and_keep_what_is_unique_already(tokens: list[str]) -> None:
    names = unique_names(tokens)
    assert len(set(names)) == len(names) == len(tokens)
    assert all(name.startswith(token) for name, token in zip(names, tokens, strict=True))
    if len(set(tokens)) == len(tokens):
        assert names == tokens


def test_names_of_equal_tokens_say_the_id() -> None:
    assert unique_names(["a", "b", "a", "a#2"]) == ["a", "b", "a#2", "a#2#3"]


def test_the_names_of_a_model_are_its_tokens(encoder: SparseEncoder) -> None:
    assert Vocabulary.of(encoder, tokens=False) == Vocabulary(encoder.manifest.vocabulary_size)
    vocabulary = Vocabulary.of(encoder, tokens=True)
    assert vocabulary.names is not None
    assert len(vocabulary.names) == vocabulary.size
    vector = encoder.encode("당뇨병")
    assert [vocabulary.names[i] for i in vector.indices] == [token for token, _ in encoder.decode(vector, top_k=None)]
