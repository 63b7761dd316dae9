"""The clean-up of texts: what is dropped, folded, spelled and cut, as the vocabulary of a tokenizer decides."""

from __future__ import annotations

import json
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

pytest.importorskip("torch", reason="needs the export extra: pip install 'spladert[export]'")

from spladert_export.normalize import clean_up
from support.paths import ROOT

SHIPPED = ROOT / "training" / "korean-splade-small" / "tokenizer.json"
ONLY_IN_LONGER_PIECES = "◎"  # the one character of the shipped vocabulary that is neither a word nor a letter of any


@cache
def shipped() -> Tokenizer:
    return Tokenizer.from_file(str(SHIPPED))


@cache
def without_clean_up() -> Tokenizer:
    tokenizer = Tokenizer.from_file(str(SHIPPED))
    tokenizer.normalizer = normalizers.NFC()
    return tokenizer


def pieces(tokenizer: Tokenizer, text: str) -> list[str]:
    return list(tokenizer.encode(text, add_special_tokens=False).tokens)


def test_the_shipped_tokenizer_has_the_clean_up_of_its_own_vocabulary() -> None:
    made = without_clean_up()
    made.normalizer = clean_up(made)
    assert json.loads(made.to_str()) == json.loads(shipped().to_str())


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("당뇨병\u200b 치료", "당뇨병 치료"),  # zero-width space
        ("당\u00ad뇨\u200d병 치료", "당뇨병 치료"),  # soft hyphen, zero-width joiner
        ("\ufeff당뇨병 \u202e치료\u202c", "당뇨병 치료"),  # byte order mark, bidi override
        ("당뇨병\x00 치\x1f료\x7f", "당뇨병 치료"),  # controls
        ("당뇨병\ufe0f 치료\U000e0101", "당뇨병 치료"),  # variation selectors
        ("당뇨병\u3164치료\uffa0방법", "당뇨병 치료 방법"),  # fillers of Hangul are blanks
        ("당뇨병\t치료\r\n방법\u2028", "당뇨병 치료 방법"),  # spaces of all kinds stay spaces
        ("당뇨병😀 치료", "당뇨병 치료"),
        ("👨‍👩‍👧당뇨병❤️치료🇰🇷", "당뇨병 치료"),
        ("당뇨병★치료", "당뇨병 치료"),
        ("당뇨병\ufffd 치료\ue000", "당뇨병 치료"),
        ("♥당뇨병♥치료", "♥ 당뇨병♥ 치료"),  # a symbol that is read stays, and hides no word
        ("●당뇨병 →치료", "● 당뇨병 → 치료"),
        ("김○○ ○○시 2∼3", "김○○ ○○시 2∼3"),  # a symbol that belongs to words stays in them
        ("ＣＣＴＶ！", "CCTV!"),
        ("\u1103\u1161\u11bc뇨병", "당뇨병"),  # decomposed
        ("ﾡ ﾾﾾ", "ㄱ ㅎㅎ"),  # halfwidth
        ("ᄏᄏᄏ ᅲᅲ", "ㅋㅋㅋ ㅠㅠ"),  # jamo without a syllable, as compatibility normalization leaves them
        ("ㅋㅋㅠㅠ ㅋㅏ", "ㅋㅋㅠㅠ ㅋㅏ"),  # never composed to another syllable
        ("①당뇨병②치료", "1 당뇨병 2 치료"),
        ("❶ ㉠ ㉮ ⓐ", "1 ㄱ 가 a"),
        ("㈜한국 ⑴ ㎏ Ⅳ ½", "(주)한국 (1) kg IV 1/2"),
        ("100㎡ 20℃", "100㎡ 20℃"),  # read as they are
        ("남ㆍ북･동․서", "남·북·동·서"),
        ("「법｣", "「법」"),
        ("Việt Ñandú", "Viet Nandu"),
        ("𝐀𝒷𝟙", "Ab1"),
        ("٣일", "3일"),
        ("최곸ㅋㅋ 뭡니까 샜어", "최고ㅋㅋㅋ 뭐ㅂ니까 새어"),  # 곸 and 뭡 are spelled; ㅆ cannot be
        ("당뇨병™ 치료®", "당뇨병 치료"),
        ("木星 朝鮮", "木星 朝鮮"),  # 木 ##星
        ("독일(獨逸) 高麗時代", "독일( )"),  # 逸 and 麗 are in no piece
        ("이누이트女", "이누이트"),  # 女 only begins words
        ("ㅊㅊ ㄹ", ""),  # pieces inside words only
        ("Привет мир", ""),
        ("สวัสดี مرحبا", ""),
        ("", ""),
    ],
)
def test_what_the_shipped_tokenizer_reads(text: str, clean: str) -> None:
    assert shipped().normalizer.normalize_str(text).split() == clean.split()
    assert "[UNK]" not in pieces(shipped(), text)


def test_every_piece_of_the_vocabulary_is_read_as_before() -> None:
    """But for jamo, middle dots, fullwidth and circled forms, which become what they are a form of."""
    words = [piece for piece in shipped().get_vocab() if not piece.startswith(("##", "["))]
    words += [f"가{piece[2:]}" for piece in shipped().get_vocab() if piece.startswith("##")]
    changed = [word for word in words if pieces(shipped(), word) != pieces(without_clean_up(), word)]
    folded = {*"①②③！（）？｢｣ｍ", *"\u318d\u2024\u30fb\uff65", *map(chr, range(0x1100, 0x1200))}
    other = [word for word in changed if not folded & set(word)]
    assert other == []


KOREAN_AND_ALL_ELSE = st.one_of(
    st.characters(min_codepoint=0xAC00, max_codepoint=0xD7A3),
    st.sampled_from(sorted({letter for piece in shipped().get_vocab() for letter in piece} - {ONLY_IN_LONGER_PIECES})),
    # The library's normalizer takes no lone surrogates; the runtime replaces them before it (tests/runtime/tokenizer).
    st.characters(exclude_categories=["Cs"], exclude_characters=ONLY_IN_LONGER_PIECES),
)


@given(st.text(KOREAN_AND_ALL_ELSE, max_size=60))
def test_nothing_is_unknown_and_a_clean_text_is_clean(text: str) -> None:
    clean = shipped().normalizer.normalize_str(text)
    assert "[UNK]" not in pieces(shipped(), clean)
    assert shipped().normalizer.normalize_str(clean).split() == clean.split()


def trained(model: models.Model, trainer: trainers.Trainer, pre_tokenizer: pre_tokenizers.PreTokenizer) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.train_from_iterator(["당뇨병 치료 방법을 알려 주세요", "The quick brown fox", "5kg (주)"], trainer)
    tokenizer.normalizer = clean_up(tokenizer)
    return tokenizer


def test_a_tokenizer_of_bytes_reads_everything_so_only_what_is_invisible_or_a_rendering_changes() -> None:
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer = trained(
        models.BPE(),
        trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, show_progress=False),
        pre_tokenizers.ByteLevel(add_prefix_space=False),
    )
    normalize = tokenizer.normalizer.normalize_str
    assert normalize("당뇨병\u200b 😀Привет ê ㎏ 뭡") == "당뇨병 😀 Привет ê ㎏ 뭡"
    assert normalize("Ａ①ᄏ") == "A 1 ㅋ"


def test_a_tokenizer_that_reads_unknown_characters_one_by_one() -> None:
    trainer = trainers.UnigramTrainer(vocab_size=60, special_tokens=["<unk>"], unk_token="<unk>", show_progress=False)
    tokenizer = trained(models.Unigram(), trainer, pre_tokenizers.Metaspace())
    normalize = tokenizer.normalizer.normalize_str
    assert normalize("당뇨병😀치료 5㎏ ê뇽 Ж").split() == ["당뇨병", "치료", "5kg", "e뇨"]
    assert "<unk>" not in pieces(tokenizer, "당뇨병😀치료 5㎏ Ж")


def test_what_a_tokenizer_folds_by_itself_is_left_to_it() -> None:
    tokenizer = Tokenizer(models.WordPiece({"[UNK]": 0, "e": 1, "##e": 2, "##t": 3}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(strip_accents=True)  # lowercases too
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    normalize = clean_up(tokenizer).normalize_str
    assert normalize("ÉTÉ") == "ÉTÉ"
    assert normalize("été😀Ж").split() == ["été"]
