"""Compare settings on the held-out questions, at a fraction of the steps: the card's table of what was tried.

    SPLADERT_SHARED=../shared python training/tune.py --work /tmp/spladert-tuning

One line of JSON a trial, in `tune.jsonl` of the work folder; trials that have a line are not run again. The test set
is never looked at.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path

import torch

from config import Config, Shape, shared_data
from run import evaluate, make_tokenizer, read_corpus, sentence_agreement, train_model


def short(config: Config, masked_lm: int = 100, regression: int = 120) -> Config:
    """The same settings with fewer steps, and without contrastive phases: few steps of these say nothing."""
    pretraining, contrast = config.masked_lm, config.contrastive
    return replace(
        config,
        masked_lm=replace(pretraining, steps=masked_lm, warmup=masked_lm // 6),
        regression=replace(config.regression, steps=regression, warmup=regression // 8),
        contrastive=replace(contrast, phases=()),
    )


def trials() -> dict[str, Config]:
    base = Config()
    shapes = {
        "24,000 x 192, 4 layers": Shape(vocab_size=24_000, hidden=192, intermediate=288, layers=4, heads=3),
        "16,000 x 256, 4 layers": Shape(vocab_size=16_000, hidden=256, intermediate=384, layers=4, heads=4),
        "32,000 x 160, 4 layers": Shape(vocab_size=32_000, hidden=160, intermediate=240, layers=4, heads=5),
        "24,000 x 192, 6 layers": Shape(vocab_size=24_000, hidden=192, intermediate=288, layers=6, heads=3),
        "24,000 x 192, 2 layers": Shape(vocab_size=24_000, hidden=192, intermediate=288, layers=2, heads=3),
    }
    return {name: short(replace(base, shape=shape)) for name, shape in shapes.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "spladert-tuning")
    work = parser.parse_args().work
    work.mkdir(parents=True, exist_ok=True)
    report = work / "tune.jsonl"
    done = {json.loads(line)["trial"] for line in report.read_text().splitlines()} if report.is_file() else set()
    torch.set_num_threads(Config().threads)
    corpus, sets = read_corpus(shared_data(), Config())
    for trial, config in trials().items():
        if trial in done:
            continue
        tokenizer = make_tokenizer(corpus.texts(), work, config)
        model, _ = train_model(corpus, tokenizer, work, config)
        measured: dict[str, object] = {
            name: evaluate(model, tokenizer, retrieval, config.max_length)
            for name, retrieval in sets.items()
            if name.startswith("validation")
        }
        measured["sts_dev"] = sentence_agreement(model, tokenizer, shared_data() / "sts_dev.tsv", config.max_length)
        with report.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps({"trial": trial} | measured, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
