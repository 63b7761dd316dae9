"""The training scripts at tiny size on made-up texts: every stage runs, and a resumed run is the same run."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.paths import ROOT

pytest.importorskip("transformers", reason="needs the export extra: pip install 'spladert[export]'")
pytest.importorskip("ir_measures", reason="needs the evaluate extra: pip install 'spladert[evaluate]'")
pytest.importorskip("scipy", reason="needs the evaluate extra: pip install 'spladert[evaluate]'")

import torch
from transformers import AutoModelForMaskedLM, AutoTokenizer

from support.spelling import Spelling
from training import tokenizer as word_piece
from training.config import (
    Config,
    Contrastive,
    Distillation,
    MaskedLM,
    Meaning,
    Phase,
    Regression,
    Shape,
    Teacher,
    Terms,
    shared_data,
)
from training.contrastive import heaviest
from training.data import Pair, split_pairs, validation_set, without_held_out
from training.distil import beginning
from training.loop import Schedule, train
from training.model import build, encode, save_checkpoint
from training.pretrain import masked_lm_step
from training.run import Corpus, evaluate, make_tokenizer, stage_file, train_model
from training.validate import similarity_agreement

SETTINGS = Config(
    max_length=24,
    alphabet=60,
    shape=Shape(vocab_size=110, hidden=16, intermediate=24, layers=2, heads=2),
    teacher=Teacher(neighbour_texts=2, neighbour_idf=1.0, together=2),
    masked_lm=MaskedLM(steps=2, batch_tokens=256, warmup=1, terms=4),
    regression=Regression(steps=2, texts=8, limit=64, warmup=1, terms=4),
    contrastive=Contrastive(
        pairs=6,
        limit=64,
        rehearsal=2,
        terms=4,
        warmup=1,
        phases=(
            Phase(0.07, 1.0, 2, (0.5, 0.1, 0.1, 0.1, 0.1, 0.1), 2e-4),
            Phase(0.05, 1.0, 2, (0.5, 0.1, 0.1, 0.1, 0.1, 0.1), 2e-4),
        ),
    ),
    meaning=Meaning(particles=1, least_texts=2, least_idf=0.1),
    terms=Terms(most=6, seen=1, particles=1, width=8, window=4),
    distillation=Distillation(pairs=4, candidates=4),
)


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    chance = np.random.default_rng(0)
    syllables = list("가나다라마바사아자차카타파하거너더러머버서어저처")
    stems = ["".join(chance.choice(syllables, 2)) for _ in range(60)]

    def text(words: int) -> str:
        return " ".join(chance.choice(stems) + chance.choice(["는", "를", "에서", "의", ""]) for _ in range(words))

    pairs = [Pair(text(4) + " 언제인가?", text(12), "made up") for _ in range(24)]
    triplets = [(text(4), text(4), text(4)) for _ in range(8)]
    return Corpus([text(8) for _ in range(120)], [pair.passage for pair in pairs], pairs, triplets)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Threads cost more than they give at this size."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def trained(corpus: Corpus, work: Path, settings: Config = SETTINGS) -> dict[str, Any]:
    work.mkdir(exist_ok=True)
    model, _ = train_model(corpus, make_tokenizer(corpus, work, settings), work, settings, Spelling())
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(left: dict[str, Any], right: dict[str, Any]) -> bool:
    return all(torch.equal(left[name], right[name]) for name in left)


def test_every_stage_runs_and_the_seed_decides_the_weights(corpus: Corpus, tmp_path: Path) -> None:
    first = trained(corpus, tmp_path / "a")
    assert all(torch.isfinite(tensor).all() for tensor in first.values())
    assert same(first, trained(corpus, tmp_path / "a"))  # from the kept stages
    assert same(first, trained(corpus, tmp_path / "b"))
    assert not same(first, trained(corpus, tmp_path / "c", replace(SETTINGS, seed=21)))


def test_the_tokenizer_is_the_same_in_every_process() -> None:
    """Hash maps in the trainer are seeded a process: many rare letters and equal counts give what they could decide."""
    code = """
import hashlib
import numpy as np
from training import tokenizer
chance = np.random.default_rng(0)
words = ["".join(chr(0xAC00 + i) for i in chance.integers(0, 400, chance.integers(2, 5)).tolist()) for _ in range(300)]
texts = [" ".join(chance.choice(words, 6)) for _ in range(300)]
for _ in range(2):
    print(hashlib.sha256(tokenizer.train(texts, 800, 200).to_str().encode()).hexdigest())
"""
    command = [sys.executable, "-c", code]
    outputs = [subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout for _ in range(2)]
    assert len({line for output in outputs for line in output.split()}) == 1


def test_a_run_without_its_last_stage_goes_on_from_the_one_before(corpus: Corpus, tmp_path: Path) -> None:
    first = trained(corpus, tmp_path)
    (last,) = tmp_path.glob("3-phase-1-*.pt")
    last.unlink()
    kept = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert same(first, trained(corpus, tmp_path))
    assert kept == {name: (tmp_path / name).stat().st_mtime_ns for name in kept}


def test_the_weights_are_a_blend_of_those_before_and_after_the_contrastive_phases(
    corpus: Corpus, tmp_path: Path
) -> None:
    blended = trained(corpus, tmp_path)
    before, after = (
        torch.load(next(tmp_path.glob(f"{stage}-*.pt")), weights_only=True)["model"]
        for stage in ("2-regression", "3-phase-2")
    )
    assert not same(before, after)
    for name, value in blended.items():
        torch.testing.assert_close(value, 0.3 * before[name] + 0.7 * after[name])
    assert same(after, trained(corpus, tmp_path, replace(SETTINGS, lexical_share=0.0)))


def test_changed_settings_never_continue_the_state_of_others(tmp_path: Path) -> None:
    one = stage_file(tmp_path, "1-masked-lm.pt", 20, Shape(), MaskedLM())
    assert one == stage_file(tmp_path, "1-masked-lm.pt", 20, Shape(), MaskedLM())
    assert one != stage_file(tmp_path, "1-masked-lm.pt", 20, Shape(), MaskedLM(steps=601))


def test_an_interrupted_stage_resumes_to_the_same_weights(tmp_path: Path) -> None:
    texts = [[2, *np.random.default_rng(i).integers(5, 110, 10).tolist(), 3] for i in range(40)]
    schedule = Schedule(steps=5, learning_rate=1e-3, warmup=2)

    def run(state: Path, stop_at: int | None) -> dict[str, Any]:
        model = build(SETTINGS.shape, 24, 0)
        step = masked_lm_step(model, texts, SETTINGS.masked_lm, seed=1)

        def loss_of_step(number: int) -> Any:
            if number == stop_at:
                raise KeyboardInterrupt
            return step(number)

        train(model, schedule, loss_of_step, state, save_every=2)
        return model.state_dict()

    whole = run(tmp_path / "whole.pt", None)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "broken.pt", 3)
    assert torch.load(tmp_path / "broken.pt", weights_only=True)["step"] == 2
    assert same(whole, run(tmp_path / "broken.pt", None))


def test_a_saved_checkpoint_loads_as_any_masked_lm(corpus: Corpus, tmp_path: Path) -> None:
    tokenizer = make_tokenizer(corpus, tmp_path, SETTINGS)
    model = build(SETTINGS.shape, SETTINGS.max_length, 0)
    save_checkpoint(model, tmp_path / "saved")
    word_piece.save(tokenizer, tmp_path / "saved", SETTINGS.max_length)
    loaded = AutoModelForMaskedLM.from_pretrained(tmp_path / "saved", dtype=torch.float32).eval()
    text = corpus.sentences[0]
    inputs = AutoTokenizer.from_pretrained(tmp_path / "saved")(text, return_tensors="pt")
    assert inputs["input_ids"][0].tolist() == tokenizer.encode(text).ids
    with torch.no_grad():
        weights = torch.log1p(torch.relu(loaded(**inputs).logits)).amax(1)[0]  # the card's encode()
    mine = encode(model, [tokenizer.encode(text).ids]).toarray()[0]
    np.testing.assert_allclose(mine, weights.numpy(), atol=5e-3)  # fp16 storage


def test_held_out_passages_are_in_no_training_pair(corpus: Corpus) -> None:
    kept, held_out = split_pairs(corpus.pairs, 0.25, seed=1)
    assert len(held_out) == 6
    assert not {pair.passage for pair in kept} & {pair.passage for pair in held_out}
    seen = without_held_out([held_out[0].query, held_out[1].passage[:20], "다른 글", *corpus.sentences], held_out)
    assert seen == ["다른 글", *corpus.sentences]
    retrieval = validation_set(corpus.pairs, held_out, "made up")
    assert len(retrieval.passages) == len({pair.passage for pair in corpus.pairs})


def test_evaluation_ranks_by_the_cards_vectors(corpus: Corpus, tmp_path: Path) -> None:
    """Metrics and sizes of the sides, against the card's encode() and a plain sort."""
    tokenizer = make_tokenizer(corpus, tmp_path, SETTINGS)
    model = build(SETTINGS.shape, SETTINGS.max_length, 0)
    with torch.no_grad():
        model.decoder.bias.fill_(-0.02)  # some entries are zero
    _, held_out = split_pairs(corpus.pairs, 0.5, seed=1)
    retrieval = validation_set(corpus.pairs, held_out, "made up")
    found = evaluate(model, tokenizer, retrieval, SETTINGS.max_length)

    tokenizer.enable_truncation(SETTINGS.max_length)

    def card(texts: Iterable[str]) -> Any:
        model.eval()
        rows = [torch.tensor([tokenizer.encode(text).ids]) for text in texts]
        with torch.no_grad():
            return torch.cat([torch.log1p(torch.relu(model(input_ids=row).logits)).amax(1) for row in rows]).numpy()

    queries, passages = card(retrieval.queries.values()), card(retrieval.passages.values())
    own = np.array([list(retrieval.passages).index(*retrieval.relevant[query]) for query in retrieval.queries])
    products = queries @ passages.T
    ranks = (products > products[np.arange(len(own)), own][:, None]).sum(axis=1)  # 0 is the best
    inside = ranks < 10
    assert 0 < inside.mean() < 1
    assert found == {
        "nDCG@10": pytest.approx((inside / np.log2(ranks + 2)).mean(), abs=1e-4),
        "R@1": pytest.approx((ranks == 0).mean(), abs=1e-4),
        "R@10": pytest.approx(inside.mean(), abs=1e-4),
        "MRR@10": pytest.approx((inside / (ranks + 1)).mean(), abs=1e-4),
        "active/query": pytest.approx((queries > 0).sum(axis=1).mean(), abs=0.051),
        "active/passage": pytest.approx((passages > 0).sum(axis=1).mean(), abs=0.051),
    }


def test_of_a_questions_targets_the_light_ones_are_left_out() -> None:
    targets = np.array([[2.0, 0.5, 0.0, 0.6], [0.0, 0.0, 0.0, 0.0]], np.float32)
    assert heaviest(targets, 0.3).tolist() == [[2.0, 0.0, 0.0, np.float32(0.6)], [0.0] * 4]


def test_teachers_read_of_a_passage_what_the_model_reads() -> None:
    tokenizer = word_piece.new_tokenizer(
        {piece: n for n, piece in enumerate([*word_piece.SPECIAL, "바다", "##에", "섬"])}
    )
    assert [beginning("바다에 섬 섬", tokenizer, longest) for longest in (1, 3, 9)] == [
        "바다",
        "바다에 섬",
        "바다에 섬 섬",
    ]
    assert beginning("", tokenizer, 3) == ""


def test_too_few_texts_for_the_vocabulary_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="vocab_size of 110"):
        make_tokenizer(Corpus(["너무 짧은 글"], [], [], []), tmp_path, SETTINGS)


def test_similarity_agreement_is_the_correlation_of_cosines_with_people() -> None:
    from scipy import sparse

    left = sparse.csr_matrix(np.array([[2.0, 0.0], [1.0, 1.0], [0.0, 3.0]]))
    right = sparse.csr_matrix(np.array([[5.0, 0.0], [1.0, 0.0], [4.0, 0.0]]))  # cosines 1, 0.71, 0
    assert similarity_agreement(left, right, [5.0, 3.0, 0.0]) == 1.0
    assert similarity_agreement(left, right, [0.0, 3.0, 5.0]) == -1.0


def test_absent_data_is_one_clear_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SPLADERT_SHARED", str(tmp_path))
    with pytest.raises(SystemExit, match=r"set SPLADERT_SHARED to the folder that holds data/sentences\.txt"):
        shared_data()
