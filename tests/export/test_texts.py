"""Which calibration texts are chosen, and what is said of those that a tokenizer has no tokens for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from spladert import ExportError
from support.paths import ROOT

pytest.importorskip("torch", reason="needs the export extra: pip install 'spladert[export]'")

from spladert_export.texts import LANGUAGES, choose_texts, coverage, fit, own_texts, read_texts

BY_CODE = {language.code: language for language in LANGUAGES}


def train(codes: Sequence[str], *, of_bytes: bool = False) -> Any:
    """A tokenizer of some languages: WordPiece, or byte pairs over bytes as GPT-2's."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    texts = [text for code in codes for text in BY_CODE[code].texts()]
    if of_bytes:
        backend = Tokenizer(models.BPE())
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        backend.train_from_iterator(texts, trainers.BpeTrainer(initial_alphabet=alphabet, show_progress=False))
        return PreTrainedTokenizerFast(tokenizer_object=backend)
    backend = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(special_tokens=["[UNK]"], show_progress=False)
    backend.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]")


def test_lists_are_of_different_lines() -> None:
    assert len(BY_CODE) == len(LANGUAGES) == 8
    for language in LANGUAGES:
        texts = language.texts()
        assert len(texts) == len(set(texts)) >= 40
        assert all(text == text.strip() != "" for text in texts)


@pytest.mark.parametrize("code", BY_CODE)
@pytest.mark.parametrize("of_bytes", [False, True])
def test_a_tokenizer_of_one_language_gets_its_list(code: str, of_bytes: bool) -> None:
    chosen = choose_texts(train([code], of_bytes=of_bytes))
    assert chosen.name == f"the {BY_CODE[code].name} list"
    assert chosen.texts == BY_CODE[code].texts()
    assert chosen.coverage > 0.95
    assert chosen.warning is None


def test_a_tokenizer_of_several_languages_gets_their_lists_in_turns() -> None:
    chosen = choose_texts(train(["en", "de", "zh"]))
    assert chosen.name == "the English, Chinese and German lists"
    assert chosen.texts[:3] == tuple(BY_CODE[code].texts()[0] for code in ("en", "zh", "de"))
    assert len(chosen.texts) == 100
    assert chosen.warning is None


@pytest.mark.parametrize("tokenizer", ["shared", "shipped"])
def test_korean_models_get_the_korean_list(tokenizer: str, request: pytest.FixtureRequest) -> None:
    from transformers import AutoTokenizer

    folder = ROOT / "training/korean-splade-small"
    if tokenizer == "shared":
        folder = request.getfixturevalue("shared") / "models/korean-neural-sparse-encoder"
    chosen = choose_texts(AutoTokenizer.from_pretrained(folder))
    assert chosen.name == "the Korean list"
    assert chosen.coverage > 0.99


def test_a_tokenizer_of_none_of_the_languages_is_warned_of() -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.WordPiece({"[UNK]": 0, "สวัสดี": 1}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    chosen = choose_texts(PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]"))
    assert chosen.coverage == 0
    assert chosen.warning is not None
    assert "the tokenizer has tokens for 0% of the characters of the" in chosen.warning
    assert "--calibration" in chosen.warning


def test_a_users_texts_are_taken_whatever_they_are_and_warned_of() -> None:
    english = train(["en"])
    fitting = own_texts(["How long does it take?"], "mine.txt", english)
    assert (fitting.name, fitting.coverage, fitting.warning) == ("mine.txt", 1.0, None)
    foreign = own_texts(["당뇨병 치료"], "mine.txt", english)
    assert foreign.texts == ("당뇨병 치료",)
    assert foreign.coverage == 0
    assert "mine.txt" in str(foreign.warning)


def test_coverage_counts_characters_that_have_a_token_of_their_own_or_share_one() -> None:
    english = train(["en"])
    assert coverage(english, ["the coffee"]) == 1
    assert coverage(english, ["the 글자"]) == pytest.approx(3 / 5)  # [UNK] is no token for a word
    assert coverage(train(["en"], of_bytes=True), ["the 글자"]) == pytest.approx(3 / 5)  # nor are bytes
    assert coverage(english, []) == 0


def test_fit_falls_with_the_crumbs_that_a_language_is_cut_into() -> None:
    english = train(["en"])
    assert fit(english, BY_CODE["en"]) == 1
    assert 0.2 < fit(english, BY_CODE["de"]) < 0.7 < coverage(english, BY_CODE["de"].texts())


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"\xff\xfe", "cannot be read .* give a UTF-8 file"), (b" \n\n", "the file is empty; give one text a line")],
)
def test_files_without_texts(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "texts.txt"
    path.write_bytes(content)
    with pytest.raises(ExportError, match=message):
        read_texts(path)
    with pytest.raises(ExportError, match="cannot be read"):
        read_texts(tmp_path / "nowhere.txt")
