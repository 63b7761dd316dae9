"""The first test of everything: the same weights as the model card's own PyTorch code."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from spladert import SparseEncoder
from support.card import Card, dense
from support.checkpoints import ARCHITECTURES, LINES, make_checkpoint

torch = pytest.importorskip("torch", reason="needs the export extra: pip install 'spladert[export]'")

TEXTS = [*LINES, "", "a", "당뇨병", "🙂 emoji and 漢字", "모르는 글자 ꙮ", LINES[0] * 40]


@pytest.fixture(scope="module", params=ARCHITECTURES)
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(request.param, tmp_path_factory.mktemp("parity") / request.param)


@pytest.mark.parametrize("max_length", [64, 128])  # 128 tokens are more than ModernBERT's window reaches
def test_matches_the_cards_encode_alone_and_in_a_batch(checkpoint: Path, max_length: int, tmp_path: Path) -> None:
    if max_length > 64 and checkpoint.name != "modernbert":
        pytest.skip("only ModernBERT has a window")
    from spladert_export import export

    encoder = SparseEncoder.load(export(checkpoint, tmp_path / "bundle", max_length=max_length))
    size, card = encoder.manifest.vocabulary_size, Card(checkpoint)
    together = encoder.encode(TEXTS, batch_size=len(TEXTS))
    for text, batched in zip(TEXTS, together, strict=True):
        expected = card.encode(text, max_length)
        alone = encoder.encode(text)
        assert len(alone) == (expected > 0).sum() > 5
        np.testing.assert_allclose(dense(alone, size), expected, atol=1e-5)
        np.testing.assert_allclose(dense(batched, size), expected, atol=1e-5)
        assert set(alone.indices) == set(batched.indices)


def test_long_texts_under_a_sliding_window(tmp_path: Path) -> None:
    """Texts far longer than the window of 128 tokens, alone and beside short ones, and one that is cut."""
    from spladert_export import export

    checkpoint = make_checkpoint("modernbert", tmp_path / "checkpoint", max_position_embeddings=2048)
    card = Card(checkpoint)
    words = " ".join(LINES).split()
    texts = [" ".join(words[i % len(words)] for i in range(count)) for count in (3, 100, 200, 520, 2000)]
    lengths = [len(card.tokenizer(text)["input_ids"]) for text in texts]
    assert [length > least for length, least in zip(lengths, (4, 100, 200, 512, 1300), strict=True)] == [True] * 5
    with SparseEncoder.load(export(checkpoint, tmp_path / "bundle", max_length=1300, top_k=10_000)) as encoder:
        assert encoder.encode(texts).truncated == 1
        for text, batched in zip(texts, encoder.encode(texts), strict=True):
            expected = card.encode(text, 1300)
            for vector in (encoder.encode(text), batched):
                np.testing.assert_allclose(dense(vector, len(expected)), expected, atol=1e-5)


def test_sliding_window_matters_at_128_tokens(tiny_checkpoint: Path) -> None:
    """Guards the test above: were the window not to matter, parity at 128 tokens would prove nothing about it."""
    from transformers import AutoModelForMaskedLM

    ids = torch.arange(5, 133)[None]
    with torch.no_grad():
        narrow = AutoModelForMaskedLM.from_pretrained(tiny_checkpoint)(input_ids=ids).logits
        wide = AutoModelForMaskedLM.from_pretrained(tiny_checkpoint, local_attention=512)(input_ids=ids).logits
    assert (narrow - wide).abs().max() > 1e-3


def test_excluded_special_tokens_have_no_weight_and_the_rest_is_unchanged(
    tiny_checkpoint: Path, tmp_path: Path
) -> None:
    from transformers import AutoModelForMaskedLM

    from spladert_export import export

    loud = tmp_path / "loud"
    shutil.copytree(tiny_checkpoint, loud)
    model = AutoModelForMaskedLM.from_pretrained(loud)
    with torch.no_grad():
        model.decoder.bias[:5] += 100.0  # special tokens would appear
    model.save_pretrained(loud)
    kept = SparseEncoder.load(export(loud, tmp_path / "kept"))
    without = SparseEncoder.load(export(loud, tmp_path / "without", exclude_special_tokens=True))
    assert without.manifest.excluded_token_ids == (0, 1, 2, 3, 4)
    for text in LINES:
        full, cut = kept.encode(text).to_dict(), without.encode(text).to_dict()
        assert {0, 1, 2, 3, 4} <= set(full)
        assert {i: w for i, w in full.items() if i > 4} == pytest.approx(cut)


def test_real_tokenizer_and_width(shared: Path, tmp_path: Path) -> None:
    """The default model's real config and tokenizer, cut to two layers, random weights: parity on real queries."""
    from benchmarks.make_checkpoint import make_checkpoint as make_real
    from spladert_export import export
    from spladert_export.checkpoint import load_checkpoint
    from spladert_export.quality.verification import verify

    source = make_real(shared, tmp_path / "real", layers=2)
    encoder = SparseEncoder.load(export(source, tmp_path / "bundle"))
    queries = (shared / "data/queries_short.txt").read_text(encoding="utf-8").splitlines()[::56]
    fidelity = verify(encoder, load_checkpoint(str(source), None, 64), queries)
    assert fidelity.texts == len(queries) > 50
    assert fidelity.max_weight_error <= 1e-5
    assert fidelity.top10_same >= 0.98
    assert 30 < fidelity.active_dimensions < 150
