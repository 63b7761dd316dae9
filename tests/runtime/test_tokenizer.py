"""Cuts: of long texts before they are tokenized, at lengths below the tokenizer's, at either side."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from spladert import InputError
from spladert.bundle import DEFAULT_BUNDLE, open_bundle
from spladert.locality import WHITE_SPACE, ends_of_words, longest_read_word
from spladert.tokenizer import TextTokenizer, load_tokenizer, tokenize
from support.checkpoints import LINES

MOST = 6  # tokens of a text in these tests: 96 characters are looked at first

pieces = st.one_of(
    st.sampled_from(
        [*LINES[0].split(), "fox", "[CLS]", "</s>", *"\x1c\u0301\x00\u200b\u0600\u11a8", "  ", *"♥木星獨逸ㅊ①😀´"]
    ),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
)
spaces = st.sampled_from(WHITE_SPACE)
texts = (
    st.lists(pieces | spaces, max_size=90).map("".join)
    | st.lists(pieces, max_size=90).map(" ".join)
    | st.tuples(spaces, st.lists(pieces, max_size=90)).map(lambda drawn: drawn[0].join(drawn[1]))
    | st.tuples(spaces, st.permutations(LINES)).map(lambda drawn: " ".join(drawn[1]).replace(" ", drawn[0]))
)


def trained(model: Any, trainer: Any, lines: Sequence[str] = LINES, **parts: Any) -> str:
    tokenizer = Tokenizer(model)
    for name, part in parts.items():
        setattr(tokenizer, name, part)
    tokenizer.train_from_iterator(lines, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 0), ("[SEP]", 1)]
    )
    return str(tokenizer.to_str())


SPECIAL = ["[CLS]", "[SEP]", "[UNK]"]


def byte_level() -> str:
    trainer = trainers.BpeTrainer(
        vocab_size=350,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    return trained(models.BPE(), trainer, pre_tokenizer=pre_tokenizers.ByteLevel(add_prefix_space=False))


def metaspace() -> str:
    trainer = trainers.UnigramTrainer(vocab_size=120, special_tokens=SPECIAL, unk_token="[UNK]", show_progress=False)
    parts = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    return trained(models.Unigram(), trainer, normalizer=normalizers.NFKC(), pre_tokenizer=parts)


def metaspace_alone(normalizer: Any) -> str:
    """Of which tokens reach across the white space that is not folded to a space."""
    trainer = trainers.BpeTrainer(vocab_size=500, special_tokens=SPECIAL, show_progress=False)
    lines = [line.replace(" ", space) for line in LINES for space in (" ", "\n", "\u3000")]
    model = models.BPE(unk_token="[UNK]")
    return trained(model, trainer, lines, normalizer=normalizer, pre_tokenizer=pre_tokenizers.Metaspace())


def lower_case() -> str:
    trainer = trainers.WordPieceTrainer(vocab_size=200, special_tokens=SPECIAL, show_progress=False)
    return trained(
        models.WordPiece(unk_token="[UNK]"),
        trainer,
        normalizer=normalizers.BertNormalizer(),
        pre_tokenizer=pre_tokenizers.BertPreTokenizer(),
    )


lower_case_json = lower_case()


def past_a_space() -> str:
    """Of which a normalizer looks past spaces, though not past other white space."""
    tokenizer = Tokenizer.from_str(lower_case_json)
    past = normalizers.Replace(Regex("[a-z\u1100-\u11ff](?= [a-z\u1100-\u11ff])"), "")
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFD(), past])
    return str(tokenizer.to_str())


MAKERS = {
    "shipped": lambda: (DEFAULT_BUNDLE / "tokenizer.json").read_text(encoding="utf-8"),
    "byte level": byte_level,
    "metaspace": metaspace,
    "metaspace alone": lambda: metaspace_alone(normalizers.NFC()),
    "metaspace alone, spaces folded": lambda: metaspace_alone(normalizers.NFKC()),
    "metaspace alone, nmt": lambda: metaspace_alone(normalizers.Nmt()),
    "lower case": lower_case,
    "past a space": past_a_space,
}


@pytest.fixture(scope="module", params=list(MAKERS))
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return load_tokenizer(MAKERS[request.param](), MOST)


def uncut(tokenizer: Tokenizer, texts: list[str]) -> list[list[int]]:
    whole = Tokenizer.from_str(tokenizer.to_str())
    whole.no_truncation()
    return [encoding.ids for encoding in whole.encode_batch_fast(texts, add_special_tokens=False)]


@given(texts)
@settings(max_examples=150, deadline=None)
def test_the_beginning_of_a_long_text_gives_its_tokens(tokenizer: Tokenizer, text: str) -> None:
    ends = ends_of_words(tokenizer)
    assert ends is not None
    whole, beginning = tokenize(tokenizer, [text]), tokenize(tokenizer, [text], ends=ends)
    assert beginning.input_ids == whole.input_ids
    assert beginning.truncated.tolist() == whole.truncated.tolist()


@given(st.data(), texts)
@settings(max_examples=150, deadline=None)
def test_the_tokens_in_front_of_white_space_do_not_depend_on_what_follows(
    tokenizer: Tokenizer, data: st.DataObject, text: str
) -> None:
    ends = ends_of_words(tokenizer)
    assert ends is not None
    if places := [found.end() for found in ends.finditer(text)]:
        [whole, beginning] = uncut(tokenizer, [text, text[: data.draw(st.sampled_from(places))]])
        assert whole[: len(beginning)] == beginning


@pytest.mark.parametrize(
    ("maker", "cut", "whole"),
    [
        ("shipped", WHITE_SPACE, ""),
        ("byte level", WHITE_SPACE, ""),
        ("lower case", " \n\t\u3000\xa0\u2028", "\x0b\x0c\x85"),  # BertNormalizer takes these for controls
        ("past a space", WHITE_SPACE.replace(" ", ""), " "),
        ("metaspace", WHITE_SPACE, ""),
        ("metaspace alone", " ", "\n\u3000\xa0"),
        ("metaspace alone, spaces folded", " \u3000\xa0\u2003", "\n\u2028\x85"),
        ("metaspace alone, nmt", " \n\t\u2028", "\x0b\u3000\xa0"),
    ],
)
def test_white_space_that_a_text_can_be_cut_at(maker: str, cut: str, whole: str) -> None:
    ends = ends_of_words(load_tokenizer(MAKERS[maker](), MOST))
    assert ends is not None
    assert [space for space in cut if not ends.search(f"a{space}")] == []
    assert [space for space in whole if ends.search(f"a{space}")] == []


def test_real_texts_give_the_same(shared: Path) -> None:
    """The card's tokenizer on texts of tens of thousands of characters, with and without line ends."""
    folder = shared / "models" / "korean-neural-sparse-encoder"
    tokenizer = load_tokenizer((folder / "tokenizer.json").read_text(encoding="utf-8"), 64)
    ends = ends_of_words(tokenizer)
    assert ends is not None
    lines = (shared / "data" / "sentences.txt").read_text(encoding="utf-8").splitlines()[:800]
    long = ["\n".join(lines), " ".join(lines[::-1]), "".join(lines).replace(" ", ""), " " * 50_000 + lines[0]]
    whole, beginning = tokenize(tokenizer, long), tokenize(tokenizer, long, ends=ends)
    assert beginning.input_ids == whole.input_ids
    assert beginning.truncated.tolist() == whole.truncated.tolist() == [True, True, True, False]


@pytest.mark.parametrize("normalizer", [None, normalizers.NFC(), normalizers.NFKD(), normalizers.BertNormalizer()])
@given(st.lists(st.tuples(st.sampled_from("가각뭡"), st.integers(1, 300), st.text("가a1. \u11a8\u0301一", max_size=3))))
@settings(max_examples=40, deadline=None)
def test_korean_words_that_never_end(normalizer: Any, rows: list[tuple[str, int, str]]) -> None:
    content = Tokenizer.from_str(lower_case_json)
    content.normalizer = normalizer
    tokenizer = load_tokenizer(content.to_str(), MOST)
    text = "".join(letter * count + rest for letter, count, rest in rows)
    assert longest_read_word(tokenizer) == 100
    whole, beginning = tokenize(tokenizer, [text]), tokenize(tokenizer, [text], ends=ends_of_words(tokenizer))
    assert beginning.input_ids == whole.input_ids
    assert beginning.truncated.tolist() == whole.truncated.tolist()


def test_words_that_a_syllable_may_end() -> None:
    for change in (
        {"normalizer": normalizers.Replace("가", " ")},
        {"pre_tokenizer": pre_tokenizers.Split("가", "removed")},
    ):
        tokenizer = Tokenizer.from_str(lower_case_json)
        for name, part in change.items():
            setattr(tokenizer, name, part)
        assert longest_read_word(tokenizer) is None
    tokenizer = Tokenizer.from_str(lower_case_json)
    tokenizer.add_tokens(["가나"])
    assert longest_read_word(tokenizer) is None
    assert longest_read_word(Tokenizer.from_str(byte_level())) is None


def test_a_surrogate_behind_the_cut_is_told_too() -> None:
    tokenizer = load_tokenizer(MAKERS["shipped"](), MOST)
    with pytest.raises(InputError, match=r"text 1 has a lone surrogate \(U\+D800\) at character 5000"):
        tokenize(tokenizer, ["fine", "word " * 1000 + "\ud800"], ends=ends_of_words(tokenizer))


@pytest.mark.parametrize(
    "change",
    [
        {"normalizer": normalizers.Replace(" ", "▁")},  # white space is gone before words are told apart
        {"normalizer": normalizers.Sequence([normalizers.NFC(), normalizers.Strip()])},
        {"normalizer": normalizers.Replace(Regex(r"a(?=\sb)"), "")},
        {"normalizer": normalizers.Replace(Regex("[^a-z]+"), "")},
        {"normalizer": normalizers.Replace(Regex(r"a[\s\S]b"), "")},
        {"normalizer": normalizers.Replace(Regex("a$"), "")},
        {"normalizer": normalizers.Replace(Regex(r"a\b"), "")},
        {"normalizer": normalizers.Replace(Regex(r"(a)\1"), "")},
        {"normalizer": normalizers.Replace(Regex("(?x) a b"), "")},
        {"pre_tokenizer": pre_tokenizers.Metaspace(split=False)},
        {"pre_tokenizer": pre_tokenizers.Digits()},  # ends no word at a space
        {"pre_tokenizer": pre_tokenizers.Split(" ", "merged_with_next")},
        {"pre_tokenizer": None},
    ],
)
def test_what_looks_across_is_tokenized_whole(change: dict[str, Any]) -> None:
    tokenizer = Tokenizer.from_str(lower_case())
    [(name, part)] = change.items()
    if part is None:
        content = json.loads(tokenizer.to_str()) | {name: None}
        tokenizer = Tokenizer.from_str(json.dumps(content))
    else:
        setattr(tokenizer, name, part)
    assert ends_of_words(tokenizer) is None


@pytest.mark.parametrize(
    "expression",
    [
        "a",
        r"\p{L}+(?=\p{N})",
        r"[^\s\x{41}-\x{5A}]+",
        r"[\p{Han}&&[^\]一]]",
        r"(?<!\p{P})(?:가{2,}|나*+)",
        r"(?<=[^\s])(?!다)a?",
    ],
)
@given(st.data())
def test_an_expression_that_matches_no_space(expression: str, data: st.DataObject) -> None:
    tokenizer = Tokenizer.from_str(lower_case_json)
    tokenizer.normalizer = normalizers.Replace(Regex(expression), "x")
    assert ends_of_words(tokenizer) is not None
    words = data.draw(st.lists(st.text("가나다Aab1一]. \n", min_size=1), min_size=2))
    before, text = " ".join(words[:-1]), " ".join(words)
    if not before[-1].isspace():
        changed = tokenizer.normalizer.normalize_str
        assert changed(text).startswith(changed(before))


@pytest.mark.parametrize(
    "token", [AddedToken("New York"), AddedToken("<a>", rstrip=True), AddedToken("<b>", lstrip=True)]
)
def test_a_token_that_reaches_across(token: AddedToken) -> None:
    tokenizer = Tokenizer.from_str(lower_case())
    tokenizer.add_tokens([AddedToken("   ")])
    assert ends_of_words(tokenizer) is not None
    tokenizer.add_tokens([token])
    assert ends_of_words(tokenizer) is None


@pytest.mark.parametrize("direction", ["left", "right"])
@given(texts, st.integers(3, 20))
@settings(max_examples=100, deadline=None)
def test_a_shorter_cut_is_that_of_a_tokenizer_of_that_length(direction: str, text: str, length: int) -> None:
    content = json.loads(lower_case_json)
    content["truncation"] = {"direction": direction.title(), "max_length": 5, "strategy": "LongestFirst", "stride": 0}
    source = json.dumps(content)
    own, longer = load_tokenizer(source, length), load_tokenizer(source, 20)
    expected, got = tokenize(own, [text]), tokenize(longer, [text], max_length=length)
    assert got.input_ids == expected.input_ids
    assert got.truncated.tolist() == expected.truncated.tolist()


def test_a_cut_without_special_tokens() -> None:
    tokenizer = load_tokenizer(lower_case_json, 20)
    whole = tokenize(tokenizer, [LINES[0]], special_tokens=False)
    cut = tokenize(tokenizer, [LINES[0]], special_tokens=False, max_length=4)
    assert cut.input_ids == [whole.input_ids[0][:4]]
    assert cut.truncated.tolist() == [True]
    assert isinstance(cut.truncated, np.ndarray)


@pytest.mark.parametrize("direction", ["left", "right"])
@pytest.mark.parametrize("prompt", ["", "치료 치료 "])
@pytest.mark.parametrize(("max_length", "words"), [(None, 62), (10, 8)])
@pytest.mark.parametrize("count", [63, 100, 20_000])
def test_how_much_of_a_text_is_read(
    direction: str, prompt: str, max_length: int | None, words: int, count: int
) -> None:
    bundle = open_bundle()
    content = json.loads(bundle.tokenizer_json())
    content["truncation"] = {"direction": direction.title(), "max_length": 5, "strategy": "LongestFirst", "stride": 0}
    tokenizer = TextTokenizer(json.dumps(content), dataclasses.replace(bundle.manifest, prompts={"document": prompt}))
    text = "치료 " * count  # a token a word
    kept = words if direction == "left" else words - len(prompt.split())
    assert tokenizer.characters_read(text, side="document", max_length=max_length) == 3 * kept - 1
    assert tokenizer.room("document", max_length) == words - len(prompt.split())


def test_all_ids_and_where_they_are() -> None:
    bundle = open_bundle()
    tokenizer = TextTokenizer(bundle.tokenizer_json(), bundle.manifest)
    text = "당뇨병 치료 😀 방법. " * 100
    [ids, none] = tokenizer.all_ids([text, ""])
    offsets = tokenizer.offsets(text)
    assert len(ids) == len(offsets) >= 400
    assert none == []
    assert [text[begin:end] for begin, end in offsets[:2]] == ["당뇨병", "치료"]
    with pytest.raises(InputError, match="lone surrogate"):
        tokenizer.all_ids(["\ud800"])


@pytest.mark.parametrize("maker", MAKERS)
@given(some=st.lists(texts, max_size=4))
@settings(max_examples=60, deadline=None)
def test_what_was_read_whole_is_not_read_again(maker: str, some: list[str]) -> None:
    manifest = dataclasses.replace(open_bundle().manifest, max_length=MOST, vocabulary_size=30_000)
    tokenizer = TextTokenizer(MAKERS[maker](), manifest)
    read = tokenizer(some)
    assert tokenizer.content_ids(some, read.input_ids, read.truncated) == tokenizer.all_ids(some)
