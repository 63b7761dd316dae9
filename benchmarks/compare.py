"""Latency, throughput, memory and start-up of several engines on the same texts, each in processes of its own.

    python benchmarks/make_checkpoint.py /tmp/checkpoint
    spladert export /tmp/checkpoint /tmp/bundle --precision fp32 --precision int8 --allow-loss
    python benchmarks/compare.py /tmp/checkpoint /tmp/bundle --rounds 5 --json results.json

Engines take turns, round by round, so that a slow minute of the machine touches all of them; the table shows medians
over the rounds and ratios to the first engine. Every figure is end to end, from texts to sparse vectors, tokenizing
included. optimum needs older transformers than the export does: give the Python of an environment of its own, made by
`pip install torch==2.13.0 'optimum-onnx[onnxruntime]'`, with --optimum-python.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

MAX_LENGTH = 64
# name: (tokens of each text, texts, repetitions in one process)
SHAPES = {
    "1 x 8": (8, 1, 20),
    "1 x 16": (16, 1, 20),
    "1 x 64": (64, 1, 8),
    "32 x 16": (16, 32, 2),
    "32 x 64": (64, 32, 1),
}
Encode = Callable[[Sequence[str]], object]


def pytorch(checkpoint: Path, bundle: Path) -> Encode:
    """The model card's own code, for a batch."""
    import torch
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    model = AutoModelForMaskedLM.from_pretrained(checkpoint).eval()

    def encode(texts: Sequence[str]) -> object:
        inputs = tokenizer(list(texts), return_tensors="pt", padding=True, truncation=True, max_length=MAX_LENGTH)
        with torch.no_grad():
            logits = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits
            mask = inputs["attention_mask"].unsqueeze(-1).float()
            weights = (torch.log1p(torch.relu(logits)) * mask).max(dim=1).values
        return weights.topk(256)

    return encode


def optimum(checkpoint: Path, bundle: Path) -> Encode:
    """optimum's ONNX export in fp32, its logits pooled in numpy, as its users write it."""
    import numpy as np
    from optimum.onnxruntime import ORTModelForMaskedLM
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    exported = checkpoint.with_name(f"{checkpoint.name}-optimum")
    if not exported.exists():
        ORTModelForMaskedLM.from_pretrained(checkpoint, export=True).save_pretrained(exported)
    model = ORTModelForMaskedLM.from_pretrained(exported)

    def encode(texts: Sequence[str]) -> object:
        inputs = tokenizer(list(texts), return_tensors="np", padding=True, truncation=True, max_length=MAX_LENGTH)
        mask = inputs["attention_mask"]
        logits = model(input_ids=inputs["input_ids"], attention_mask=mask).logits
        weights = (np.log1p(np.maximum(logits, 0)) * mask[..., None]).max(axis=1)
        return np.argpartition(-weights, 256, axis=1)[:, :256]

    return encode


def spladert(precision: str) -> Callable[[Path, Path], Encode]:
    def load(checkpoint: Path, bundle: Path) -> Encode:
        from spladert import SparseEncoder

        return SparseEncoder.load(bundle, device="cpu", precision=precision).encode

    return load


ENGINES: dict[str, Callable[[Path, Path], Encode]] = {
    "pytorch": pytorch,
    "optimum": optimum,
    "spladert fp32": spladert("fp32"),
    "spladert int8": spladert("int8"),
}


def make_texts(bundle: Path, shared: Path) -> dict[str, list[str]]:
    """Real sentences of exactly the number of tokens that each shape asks for, cut to it where need be."""
    from spladert.bundle import open_bundle
    from spladert.tokenizer import load_tokenizer, tokenize

    opened = open_bundle(bundle)
    tokenizer = load_tokenizer(opened.tokenizer_json(), MAX_LENGTH)
    sentences = (shared / "data/sentences.txt").read_text(encoding="utf-8").splitlines()[:30_000]
    lengths = [len(ids) for ids in tokenize(tokenizer, sentences)]
    return {
        name: [text for text, n in zip(sentences, lengths, strict=True) if n == tokens][:count]
        for name, (tokens, count, _) in SHAPES.items()
    }


def worker(engine: str, checkpoint: Path, bundle: Path, texts: dict[str, list[str]]) -> dict[str, float]:
    """Milliseconds of each shape (median of its repetitions), seconds to the first vector, peak memory in MB."""
    started = time.perf_counter()
    encode = ENGINES[engine](checkpoint, bundle)
    encode(texts["1 x 8"])
    result = {"first vector, s": time.perf_counter() - started}
    for name, (_, _, repetitions) in SHAPES.items():
        encode(texts[name])  # warm-up
        taken = []
        for _ in range(repetitions):
            begun = time.perf_counter()
            encode(texts[name])
            taken.append((time.perf_counter() - begun) * 1e3)
        result[f"{name}, ms"] = statistics.median(taken)
    result["peak memory, MB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return result


def run(python: str, engine: str, args: argparse.Namespace, texts: Path) -> dict[str, float]:
    command = [python, __file__, str(args.checkpoint), str(args.bundle), "--worker", engine, "--texts", str(texts)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{engine} failed:\n{done.stderr[-2000:]}")
    measured: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return measured


def cpu_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores"


def table(medians: dict[str, dict[str, float]]) -> str:
    """Markdown: a row a measure, a column an engine, ratios to the first engine in brackets."""
    names = list(medians)
    lines = [f"| measure | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    for measure, base in medians[names[0]].items():
        cells = [f"{medians[name][measure]:.3g} ({base / medians[name][measure]:.2g}x)" for name in names]
        lines.append(f"| {measure} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(args: argparse.Namespace) -> None:
    shared = Path(os.environ.get("SPLADERT_SHARED", "../shared"))
    texts = args.checkpoint.with_name(f"{args.checkpoint.name}-texts.json")
    texts.write_text(json.dumps(make_texts(args.bundle, shared), ensure_ascii=False), encoding="utf-8")
    pythons = {name: sys.executable for name in ENGINES if name != "optimum"}
    if args.optimum_python:
        pythons["optimum"] = args.optimum_python
    order = [name for name in ENGINES if name in pythons]
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in order}
    for number in range(args.rounds):
        for name in order:
            rounds[name].append(run(pythons[name], name, args, texts))
            print(f"round {number + 1}: {name}", file=sys.stderr)
    medians = {
        name: {measure: statistics.median(one[measure] for one in results) for measure in results[0]}
        for name, results in rounds.items()
    }
    print(f"{cpu_name()}; median of {args.rounds} rounds\n\n{table(medians)}")
    if args.json:
        content: dict[str, Any] = {"cpu": cpu_name(), "rounds": rounds, "medians": medians}
        args.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--optimum-python", help="Python of an environment that has optimum.")
    parser.add_argument("--json", type=Path, help="Write all rounds here.")
    parser.add_argument("--worker", choices=ENGINES, help=argparse.SUPPRESS)
    parser.add_argument("--texts", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        given = json.loads(arguments.texts.read_text(encoding="utf-8"))
        print(json.dumps(worker(arguments.worker, arguments.checkpoint, arguments.bundle, given)))
    else:
        main(arguments)
