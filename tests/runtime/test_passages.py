"""Cutting documents into passages: nothing is lost, nothing is too long, and cuts are where sentences end."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from spladert import InputError, SparseEncoder
from spladert.passages import PassageCutter, Passages

pieces = st.sampled_from(
    [
        "당뇨병 치료에는 운동이 좋다.",
        "The end.",
        "값은 3.5이다",
        "끝！",
        "。",
        "?",
        "\n",
        " ",
        "\t",
        "\u3000",
        "가" * 300,
    ]
) | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
texts = st.lists(pieces, max_size=60).map("".join) | st.lists(pieces, max_size=60).map(" ".join)


@pytest.fixture(scope="module")
def encoder() -> Iterator[SparseEncoder]:
    with SparseEncoder.load(threads=1, spin=False) as loaded:
        yield loaded


def cut(encoder: SparseEncoder, text: str, room: int | None = None, **how: int) -> list[str]:
    cutter = PassageCutter(encoder.tokenizer, Passages(**how), room or encoder.tokenizer.room("document"))
    return [text[begin:end] for begin, end in cutter(text)]


@example(text="당뇨병 치료에는 운동이 좋다.\n" + "당뇨병 치료에는 운동이 좋다." * 4, overlap=7, room=21)
@given(text=texts, overlap=st.integers(0, 20), room=st.integers(21, 62))
@settings(deadline=None, max_examples=100)
def test_all_of_a_text_is_in_passages_that_are_read_whole(
    encoder: SparseEncoder, text: str, overlap: int, room: int
) -> None:
    cutter = PassageCutter(encoder.tokenizer, Passages(overlap), room)
    spans = cutter(text)
    covered = {at for begin, end in spans for at in range(begin, end)}
    assert covered >= {at for at, letter in enumerate(text) if not letter.isspace()}
    for (begin, end), (following, _) in pairwise(spans):
        assert begin < following
        assert len(encoder.tokenizer.all_ids([text[following:end]])[0]) <= overlap
    passages = [text[begin:end] for begin, end in spans]
    assert not encoder.tokenize_batch(passages, max_length=room + 2).truncated.any()
    assert all(passage == passage.strip() for passage in passages) or not text.strip()


def test_cuts_are_at_the_ends_of_sentences(encoder: SparseEncoder) -> None:
    sentences = [
        "당뇨병 치료에는 식이요법과 운동이 중요하다.",
        "값은 3.5배이다!",
        '그는 "정말?" 하고 물었다.',
        "一方、天気は良い。",
        "끝",
    ]
    text = " ".join(sentences[:3]) + " " + sentences[3] + sentences[4]
    rooms = {room: cut(encoder, text, room) for room in (20, 30, 200)}
    ends = {text.index(sentence) + len(sentence) for sentence in sentences}
    for passages in rooms.values():
        assert {text.index(passage) + len(passage) for passage in passages} <= ends
    assert rooms[20] != rooms[30]
    assert (len(rooms[20]), len(rooms[30]), len(rooms[200])) == (2, 2, 1)


def test_a_long_sentence_is_cut_between_words(encoder: SparseEncoder) -> None:
    text = "당뇨병 치료 " * 200
    passages = cut(encoder, text)
    assert len(passages) == 7
    assert all(set(passage.split()) == {"당뇨병", "치료"} for passage in passages)


def test_an_overlap_is_of_whole_sentences_else_of_whole_words(encoder: SparseEncoder) -> None:
    text = "하나이다. 둘이다. 셋이다. 넷이다. 다섯이다. 여섯이다."
    first, second, *_ = cut(encoder, text, 12, overlap=5)
    assert second.split()[0] == first.split()[-1]
    words = "당뇨병 치료 " * 50
    first, second, *_ = cut(encoder, words, 12, overlap=3)
    assert first.split()[-3:] == second.split()[:3]


def test_a_document_may_have_a_limit(encoder: SparseEncoder) -> None:
    text = "당뇨병 치료에는 운동이 중요하다. " * 100
    assert cut(encoder, text, most=3) == cut(encoder, text)[:3]


@pytest.mark.parametrize("text", ["", " ", "\n\n"])
def test_an_empty_document_is_one_passage(encoder: SparseEncoder, text: str) -> None:
    assert cut(encoder, text) == [text]


def test_numbers_out_of_range_are_named(encoder: SparseEncoder) -> None:
    with pytest.raises(InputError, match="overlap of passages is -1"):
        Passages(overlap=-1)
    with pytest.raises(InputError, match="most passages of a document is 0"):
        Passages(most=0)
    with pytest.raises(InputError, match="less than the 62 tokens"):
        cut(encoder, "", overlap=62)
    with pytest.raises(InputError, match="lone surrogate"):
        cut(encoder, "\ud800")
