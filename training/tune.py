"""Compare settings on the held-out questions: the card's tables of what was tried.

    SPLADERT_SHARED=../shared python -m training.tune --work /tmp/spladert-tuning

Lexical teachers by themselves, which need no training, on the tokenizer of the first shape; then shapes of the model at
a fraction of the steps. One line of JSON a trial, in `tune.jsonl` of the work folder; trials that have a line are not
run again. The test set is never looked at.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from training.config import Config, Shape, Teacher, shared_data
from training.dense import DenseTeacher
from training.run import (
    baselines,
    evaluate,
    make_tokenizer,
    read_corpus,
    read_texts,
    sentence_agreement,
    train_model,
    with_nouns,
)
from training.teacher import make_teacher

SHAPES = {
    "28,000 x 192, 4 layers": Shape(vocab_size=28_000, hidden=192, intermediate=288, layers=4, heads=3),
    "24,000 x 192, 4 layers": Shape(vocab_size=24_000, hidden=192, intermediate=288, layers=4, heads=3),
    "16,000 x 256, 4 layers": Shape(vocab_size=16_000, hidden=256, intermediate=384, layers=4, heads=4),
    "32,000 x 160, 4 layers": Shape(vocab_size=32_000, hidden=160, intermediate=240, layers=4, heads=5),
    "24,000 x 192, 6 layers": Shape(vocab_size=24_000, hidden=192, intermediate=288, layers=6, heads=3),
}


def short(config: Config, masked_lm: int = 100, regression: int = 120) -> Config:
    """The same settings with fewer steps, and without contrastive phases: few steps of these say nothing."""
    pretraining, contrast = config.masked_lm, config.contrastive
    return replace(
        config,
        masked_lm=replace(pretraining, steps=masked_lm, warmup=masked_lm // 6),
        regression=replace(config.regression, steps=regression, warmup=regression // 8),
        contrastive=replace(contrast, phases=()),
    )


def teachers() -> dict[str, Teacher]:
    changes: list[dict[str, Any]] = [
        {"neighbours": 0},
        {"neighbours": 0, "part_share": 0.25},
        {"neighbours": 0, "lead": 0.4},
        {"neighbours": 0, "lead": 1.0},
        {"neighbours": 6, "neighbour_strength": 0.45, "neighbour_share": 0.3},
        {"neighbours": 6, "neighbour_strength": 0.45, "neighbour_share": 0.15},
        {"neighbours": 10, "neighbour_strength": 0.4, "neighbour_share": 0.3},
        {"neighbours": 10, "neighbour_strength": 0.4, "neighbour_share": 0.15},
        {"neighbours": 10, "neighbour_strength": 0.4, "neighbour_share": 0.1},
        {"neighbours": 16, "neighbour_strength": 0.35, "neighbour_share": 0.1},
    ]
    return {json.dumps(change): replace(Teacher(), **change) for change in changes}


def add(report: Path, trial: str, measured: dict[str, object]) -> None:
    with report.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps({"trial": trial} | measured, ensure_ascii=False) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "spladert-tuning")
    work = parser.parse_args().work
    work.mkdir(parents=True, exist_ok=True)
    report = work / "tune.jsonl"
    done = {json.loads(line)["trial"] for line in report.read_text().splitlines()} if report.is_file() else set()
    torch.set_num_threads(Config().threads)
    dense = DenseTeacher(work / "dense")
    corpus, sets = read_corpus(shared_data(), Config())
    corpus = with_nouns(corpus, dense, Config())
    sets = {name: retrieval for name, retrieval in sets.items() if name.startswith("validation")}

    longest = Config().max_length - 2
    waiting = {name: settings for name, settings in teachers().items() if name not in done}
    if waiting:
        config = replace(Config(), shape=next(iter(SHAPES.values())))
        tokenizer = make_tokenizer(corpus, work, config)
        ids, embedding = read_texts(corpus, tokenizer, work, config)
        for trial, settings in waiting.items():
            teacher = make_teacher(tokenizer, [row[:longest] for row in ids], embedding, settings)
            scores = {name: baselines(tokenizer, one, teacher, longest)["teacher"] for name, one in sets.items()}
            add(report, trial, dict(scores))

    for trial, shape in SHAPES.items():
        if trial in done:
            continue
        config = short(replace(Config(), shape=shape))
        tokenizer = make_tokenizer(corpus, work, config)
        model, _ = train_model(corpus, tokenizer, work, config, dense)
        measured: dict[str, object] = {
            name: evaluate(model, tokenizer, retrieval, config.max_length) for name, retrieval in sets.items()
        }
        measured["sts_dev"] = sentence_agreement(model, tokenizer, shared_data() / "sts_dev.tsv", config.max_length)
        add(report, trial, measured)


if __name__ == "__main__":
    main()
