"""Maps of characters, as `tokenizers` itself reads them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import normalizers

pytest.importorskip("torch", reason="needs the export extra: pip install 'spladert[export]'")

from spladert_export.charsmap import charsmap

# one, two, three and four bytes of UTF-8, and none that joins the character before it
LETTERS = st.one_of(
    st.characters(min_codepoint=0x20, max_codepoint=0x7E),
    st.characters(min_codepoint=0xA1, max_codepoint=0x2FF, exclude_characters="\xad"),
    st.characters(min_codepoint=0xAC00, max_codepoint=0xD7A3),
    st.characters(min_codepoint=0x1F300, max_codepoint=0x1F3FA),
)


@given(st.dictionaries(LETTERS, st.text(LETTERS, max_size=4), min_size=1), st.text(LETTERS), st.data())
def test_it_replaces_what_it_maps_and_nothing_else(
    replacements: dict[str, str], text: str, data: st.DataObject
) -> None:
    mapped = data.draw(st.text(st.sampled_from(sorted(replacements))))
    normalizer = normalizers.Precompiled(charsmap(replacements))
    for given_text in (text, mapped, mapped + text + mapped):
        assert normalizer.normalize_str(given_text) == given_text.translate(str.maketrans(replacements))


def test_a_table_of_every_syllable() -> None:
    replacements = {chr(point): f"<{point:X}>" for point in range(0xAC00, 0xD7A4)}
    normalizer = normalizers.Precompiled(charsmap(replacements))
    text = "".join(replacements) + "ㅋ"
    assert normalizer.normalize_str(text) == "".join(replacements.values()) + "ㅋ"


def test_a_mark_on_a_replaced_character_goes_with_it() -> None:
    normalizer = normalizers.Precompiled(charsmap({"q": "k"}))
    assert normalizer.normalize_str("q\u0301x\u0301") == "kx\u0301"


@pytest.mark.parametrize("replacements", [{"": "a"}, {"ab": "a"}, {"\0": " "}, {"a": "\0"}])
def test_what_is_no_map_of_characters(replacements: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="give single characters, and no U\\+0000"):
        charsmap(replacements)
