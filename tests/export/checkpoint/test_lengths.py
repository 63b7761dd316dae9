"""Which lengths a bundle gets, of what is asked for and what the checkpoint says."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spladert import ExportError

pytest.importorskip("torch", reason="needs the export extra: pip install 'spladert[export]'")

from spladert_export.checkpoint.lengths import choose_lengths

NONE = (None, None, None)


def choose(own: Any = NONE, asked: Any = NONE, usable: int | None = 512) -> tuple[int, int | None, int | None]:
    lengths = choose_lengths("it", usable=usable, special=2, own=own, asked=asked)
    return lengths.max_length, lengths.query, lengths.document


def test_what_is_asked_comes_first_then_what_the_checkpoint_says_then_64() -> None:
    assert choose() == (64, None, None)
    assert choose(usable=32) == (32, None, None)
    assert choose(usable=None, asked=(100_000, None, None)) == (100_000, None, None)
    assert choose(own=(256, None, None)) == (256, None, None)
    assert choose(own=(10**30, None, None)) == (512, None, None)  # a tokenizer without a length says so
    assert choose(own=(256, None, None), asked=(128, None, None)) == (128, None, None)
    assert choose(own=(256, 32, 180)) == (180, 32, None)
    assert choose(own=(256, 32, 180), asked=(20, None, None)) == (20, None, None)
    assert choose(own=(256, 32, None), asked=(None, None, 100)) == (100, 32, None)
    assert choose(asked=(None, 64, 256)) == (256, 64, None)
    assert choose(asked=(None, None, 256)) == (256, 64, None)
    assert choose(asked=(300, 64, 256)) == (300, 64, 256)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ((0, None, None), "max_length is 0; give an integer of at least 1"),
        ((None, 6.5, None), r"query_max_length is 6\.5; give an integer"),
        ((None, None, True), "document_max_length is True; give an integer"),
        ((2, None, None), "max_length 2 leaves no room beside the 2 special tokens of it"),
        ((None, None, 513), "it has 512 positions; document_max_length 513 does not fit"),
        ((64, 65, None), "query_max_length 65 is more than max_length 64"),
    ],
)
def test_lengths_that_do_not_fit(asked: Any, message: str) -> None:
    with pytest.raises(ExportError, match=message):
        choose(asked=asked)


lengths = st.none() | st.integers(3, 600)


@given(own=st.tuples(lengths, lengths, lengths), asked=st.tuples(lengths, lengths, lengths), usable=st.integers(3, 600))
def test_no_length_is_beyond_the_graphs_or_the_models(own: Any, asked: Any, usable: int) -> None:
    try:
        most, query, document = choose(own, asked, usable)
    except ExportError:
        assert any(length is not None and (length > usable or length > (asked[0] or length)) for length in asked)
        return
    assert most <= usable
    assert all(side is None or side < most for side in (query, document))
    for side, wanted in ((query, asked[1]), (document, asked[2])):
        assert wanted is None or (side or most) == wanted
