"""Every number of the training in one place, and where its data lies."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
CHECKPOINT = HERE / "korean-splade-small"


@dataclass(frozen=True)
class Shape:
    """Architecture: a ModernBERT masked language model with the embedding tied to the decoder."""

    vocab_size: int = 28_000
    hidden: int = 192
    intermediate: int = 288
    layers: int = 4
    heads: int = 3


@dataclass(frozen=True)
class MaskedLM:
    steps: int = 600
    batch_tokens: int = 4_096
    mask_rate: float = 0.25
    terms: int = 384  # single terms in a step, beside the texts
    learning_rate: float = 2e-3
    warmup: int = 100
    weight_decay: float = 0.05


@dataclass(frozen=True)
class Teacher:
    """Lexical target weights; shares are of the implied entry's own full weight."""

    scale: float = 0.15
    lead: float = 0.7
    lead_tokens: float = 8.0
    quiet_emphasis: float = 0.3
    twin_share: float = 0.2
    part_share: float = 0.4
    implied_limit: float = 0.6
    neighbour_share: float = 0.1
    neighbours: int = 10
    neighbour_texts: int = 6
    neighbour_idf: float = 4.0
    neighbour_strength: float = 0.4
    together: int = 3
    similarity_gain: float = 1.25


@dataclass(frozen=True)
class Regression:
    """Lexical regression. The mixture: sentences, passages, queries, phrases of sentences, random tokens."""

    steps: int = 1_600
    texts: int = 64
    mixture: tuple[float, ...] = (0.3, 0.25, 0.1, 0.15, 0.2)
    limit: int = 512
    learning_rate: float = 1e-3
    warmup: int = 50
    weight_decay: float = 0.01
    start_bias: float = -3.0
    stray: float = 0.1
    terms: int = 192
    terms_stray: float = 0.3


@dataclass(frozen=True)
class Phase:
    """The mixture: phrases, crops, leads against the rest, made-up questions, pairs, triplets."""

    temperature: float
    weight: float
    steps: int
    mixture: tuple[float, ...]
    learning_rate: float


@dataclass(frozen=True)
class Contrastive:
    pairs: int = 40
    limit: int = 512
    anchor: float = 1.5
    rehearsal: int = 16
    flops: float = 0.01
    question_least: float = 0.3  # of the heaviest target of a question, what a target must have to count
    stray: float = 0.2
    terms: int = 64
    terms_weight: float = 1.5
    terms_stray: float = 0.1
    weight_decay: float = 0.01
    warmup: int = 20
    phases: tuple[Phase, ...] = (
        Phase(0.07, 1.0, 80, (0.6, 0.1, 0.1, 0.2, 0.0, 0.0), 2e-4),
        Phase(0.05, 1.5, 150, (0.15, 0.1, 0.15, 0.2, 0.3, 0.1), 2e-4),
        Phase(0.03, 2.0, 350, (0.05, 0.05, 0.1, 0.1, 0.55, 0.15), 2e-4),
    )


@dataclass(frozen=True)
class Nouns:
    """Which words of another vocabulary are nouns: by how many particles and how often those it is told by are seen."""

    particles: int = 4
    often: int = 10
    others: int = 5_000
    ridge: float = 10.0
    least: float = 0.3


@dataclass(frozen=True)
class Meaning:
    """Words that belong to a term: which ones are asked for, and what each source's ranks count."""

    particles: int = 3
    least_texts: int = 3
    least_idf: float = 4.2
    smoothing: float = 60.0
    together: float = 0.7
    company: float = 0.5
    support: float = 0.12
    look_alike: float = 0.3


@dataclass(frozen=True)
class Terms:
    """Single terms: which are learned, and how much of the words that belong to them they should give."""

    most: int = 44
    share: float = 0.5
    tail: float = 0.4
    seen: int = 3
    particles: int = 2
    width: int = 256
    window: int = 10


@dataclass(frozen=True)
class Distillation:
    """Rankings by the teachers, in all phases but the first; shares are of the dense teacher, by source of the pair."""

    pairs: int = 24
    candidates: int = 24
    temperature: float = 0.7
    dense_share: float = 0.6
    dense_shares: Mapping[str, float] = field(default_factory=lambda: {"hrc": 0.4})
    anchor: float = 0.5


@dataclass(frozen=True)
class Config:
    seed: int = 20
    threads: int = 2
    max_length: int = 64
    held_out: float = 0.1
    alphabet: int = 2_300
    shape: Shape = field(default_factory=Shape)
    teacher: Teacher = field(default_factory=Teacher)
    nouns: Nouns = field(default_factory=Nouns)
    masked_lm: MaskedLM = field(default_factory=MaskedLM)
    regression: Regression = field(default_factory=Regression)
    contrastive: Contrastive = field(default_factory=Contrastive)
    meaning: Meaning = field(default_factory=Meaning)
    terms: Terms = field(default_factory=Terms)
    distillation: Distillation = field(default_factory=Distillation)
    lexical_share: float = 0.3  # of the weights before the contrastive phases, in the final ones


def vocabulary() -> Path:
    """The tokenizer.json of the model card, whose vocabulary names everyday words."""
    return shared_data().parent / "models" / "korean-neural-sparse-encoder" / "tokenizer.json"


def shared_data() -> Path:
    """The folder with the training data: `$SPLADERT_SHARED/data`, by default `../shared/data` of the project's root.

    Ends the script with one line that says what to do where it is absent.
    """
    root = Path(os.environ.get("SPLADERT_SHARED", HERE.parent.parent / "shared"))
    if not (root / "data" / "sentences.txt").is_file():
        raise SystemExit(
            f"no training data in {root / 'data'}: set SPLADERT_SHARED to the folder that holds data/sentences.txt"
        )
    return root / "data"
