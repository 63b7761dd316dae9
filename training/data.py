"""Reading the shared texts: sentences, (query, passage) pairs, triplets, and a retrieval set in BEIR layout."""

from __future__ import annotations

import json
import random
import sys
from dataclasses import dataclass
from pathlib import Path

from training.config import shared_data


@dataclass(frozen=True)
class Pair:
    query: str
    passage: str
    source: str


@dataclass(frozen=True)
class Triplet:
    anchor: str
    positive: str
    negative: str


@dataclass(frozen=True)
class RetrievalSet:
    queries: dict[str, str]
    passages: dict[str, str]
    relevant: dict[str, dict[str, int]]


def _json_lines(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.strip()]


def read_sentences(data: Path) -> list[str]:
    return [line for line in (data / "sentences.txt").read_text(encoding="utf-8").splitlines() if line.strip()]


def read_pairs(data: Path) -> list[Pair]:
    return [Pair(row["query"], row["positive"], row["source"]) for row in _json_lines(data / "pairs.jsonl")]


def read_triplets(data: Path) -> list[Triplet]:
    rows = _json_lines(data / "nli_pairs.jsonl")
    return [Triplet(row["anchor"], row["entailment"], row["contradiction"]) for row in rows]


def read_scored_sentences(file: Path) -> tuple[list[str], list[str], list[float]]:
    """Both sentences of every pair, and people's score of their similarity."""
    rows = [line.split("\t") for line in file.read_text(encoding="utf-8").splitlines()[1:]]
    return [row[1] for row in rows], [row[2] for row in rows], [float(row[0]) for row in rows]


def read_retrieval_set(folder: Path) -> RetrievalSet:
    relevant: dict[str, dict[str, int]] = {}
    for line in (folder / "qrels.tsv").read_text(encoding="utf-8").splitlines()[1:]:
        query, passage, score = line.split("\t")
        relevant.setdefault(query, {})[passage] = int(score)
    return RetrievalSet(
        queries={row["_id"]: row["text"] for row in _json_lines(folder / "queries.jsonl")},
        passages={row["_id"]: row["text"] for row in _json_lines(folder / "corpus.jsonl")},
        relevant=relevant,
    )


def split_pairs(pairs: list[Pair], held_out: float, seed: int) -> tuple[list[Pair], list[Pair]]:
    """Training and validation pairs; a passage never lies on both sides."""
    passages = sorted({pair.passage for pair in pairs})
    random.Random(seed).shuffle(passages)
    kept_back = set(passages[: int(len(passages) * held_out)])
    train = [pair for pair in pairs if pair.passage not in kept_back]
    return train, [pair for pair in pairs if pair.passage in kept_back]


def without_held_out(sentences: list[str], held_out: list[Pair]) -> list[str]:
    """Sentences that are neither a held-out question nor part of a held-out passage (short ones are common)."""
    questions = {pair.query for pair in held_out}
    passages = "\n".join(sorted({pair.passage for pair in held_out}))
    return [text for text in sentences if text not in questions and not (len(text) > 12 and text in passages)]


def validation_set(pairs: list[Pair], held_out: list[Pair], source: str) -> RetrievalSet:
    """Held-out queries of one source against every passage of that source, trained on or not."""
    passages = sorted({pair.passage for pair in pairs if pair.source == source})
    ids = {passage: f"p{number}" for number, passage in enumerate(passages)}
    asked = [pair for pair in held_out if pair.source == source]
    queries = {f"q{number}": pair.query for number, pair in enumerate(asked)}
    relevant = {f"q{number}": {ids[pair.passage]: 1} for number, pair in enumerate(asked)}
    return RetrievalSet(queries, {key: passage for passage, key in ids.items()}, relevant)


def write_judged(pairs: list[Pair], folder: Path) -> None:
    """The pairs as a retrieval set in the BEIR layout: each question has its own passage among all."""
    folder.mkdir(parents=True, exist_ok=True)
    passages = {text: f"p{number}" for number, text in enumerate(sorted({pair.passage for pair in pairs}))}
    questions = {f"q{number}": pair.query for number, pair in enumerate(pairs)}
    for name, texts in (("corpus", {key: text for text, key in passages.items()}), ("queries", questions)):
        lines = (json.dumps({"_id": key, "text": text}, ensure_ascii=False) for key, text in texts.items())
        (folder / f"{name}.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    judged = "".join(f"q{number}\t{passages[pair.passage]}\t1\n" for number, pair in enumerate(pairs))
    (folder / "qrels.tsv").write_text(f"query-id\tcorpus-id\tscore\n{judged}", encoding="utf-8")


if __name__ == "__main__":
    write_judged(read_pairs(shared_data()), Path(sys.argv[1]))
