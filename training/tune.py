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


def short(config: Config, masked_lm: int = 60, regression: int = 60, phases: tuple[int, ...] = (5, 5, 20)) -> Config:
    """The same settings with fewer steps."""
    pretraining, contrast = config.masked_lm, config.contrastive
    shortened = tuple(replace(phase, steps=steps) for phase, steps in zip(contrast.phases, phases, strict=False))
    return replace(
        config,
        masked_lm=replace(pretraining, steps=masked_lm, warmup=masked_lm // 6),
        regression=replace(config.regression, steps=regression, warmup=regression // 8),
        contrastive=replace(contrast, phases=shortened, warmup=5),
    )


def trials() -> dict[str, Config]:
    base = Config()
    wide = replace(base, shape=Shape(vocab_size=16_000, hidden=256, intermediate=384, heads=4))
    deep = replace(base, shape=replace(base.shape, layers=6))
    shapes = {"24k x 192, 4 layers": base, "16k x 256, 4 layers": wide, "24k x 192, 6 layers": deep}
    lexical = {f"{name}, no contrastive phase": short(config, phases=()) for name, config in shapes.items()}
    return lexical | {name: short(config) for name, config in shapes.items()}


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
