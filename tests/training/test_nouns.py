"""Which words of another vocabulary are taken into ours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("transformers", reason="needs the export extra: pip install 'spladert[export]'")
pytest.importorskip("scipy", reason="needs the evaluate extra: pip install 'spladert[evaluate]'")

from training import tokenizer as word_piece
from training.config import Nouns
from training.nouns import nouns_among, read_words

NOUNS, VERBS = ("바다", "나무", "하늘", "구름"), ("달려", "먹어", "올라", "내려")
UNSEEN = ("소나기", "뛰어가", "노을")
WORDS = Counter(dict.fromkeys(VERBS, 20)) + Counter(
    word + particle for word in NOUNS for particle in ("", "를", "는", "가", "와", "을", "은", "이", "과")
)


def vectors(texts: Sequence[str]) -> np.ndarray:
    """Of a teacher that tells nouns from verbs by its first dimension; the second says nothing."""
    noun = [not text.startswith(("달려", "먹어", "올라", "내려", "뛰어")) for text in texts]
    return np.array([[1.0 if side else -1.0, len(text)] for side, text in zip(noun, texts, strict=True)], np.float32)


def test_the_line_drawn_by_the_texts_tells_unseen_nouns() -> None:
    settings = Nouns(particles=4, often=10, others=3, ridge=0.1, least=0.3)
    assert nouns_among(UNSEEN, WORDS, vectors, settings) == ["소나기", "노을"]


def test_words_of_another_vocabulary_are_those_of_two_korean_letters_and_more(tmp_path: Path) -> None:
    pieces = [*word_piece.SPECIAL, "바다", "##바다", "가", "sea", "에서", "노을", "노을1"]
    file = tmp_path / "tokenizer.json"
    word_piece.new_tokenizer({piece: number for number, piece in enumerate(pieces)}).save(str(file))
    assert read_words(file) == ["바다", "노을"]
    with pytest.raises(SystemExit, match="no tokenizer"):
        read_words(tmp_path / "absent.json")


def test_named_words_are_pieces_however_rare() -> None:
    texts = [
        f"{stem}{ending} 온다" for stem in ("바다", "나무", "하늘", "구름") for ending in ("는", "가") for _ in range(3)
    ]
    texts += ["노을소나기"]
    named = ["노을", "소나기", "무지개"]  # the last has letters that the texts lack
    known = word_piece.train(texts, 40, 20, also=named).get_vocab()
    assert {"노을", "소나기"} <= known.keys()
    assert "무지개" not in known
    assert "소나기" not in word_piece.train(texts, 40, 20).get_vocab()
