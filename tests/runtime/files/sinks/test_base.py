from __future__ import annotations

from spladert import SparseEncoder
from spladert.files import Vocabulary


def test_the_names_of_a_model_are_its_tokens(encoder: SparseEncoder) -> None:
    assert Vocabulary.of(encoder, tokens=False) == Vocabulary(encoder.manifest.vocabulary_size)
    vocabulary = Vocabulary.of(encoder, tokens=True)
    assert vocabulary.names is not None
    assert len(set(vocabulary.names)) == vocabulary.size
    vector = encoder.encode("당뇨병")
    assert [vocabulary.names[i] for i in vector.indices] == [token for token, _ in encoder.decode(vector)]
