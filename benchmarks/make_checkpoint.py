"""Build a checkpoint of the default model's real architecture with random weights.

    python -m benchmarks.make_checkpoint OUT [--active 75] [--layers 22] [--seed 0]

The config and the tokenizer are the real ones (SPLADERT_SHARED, default ../shared), the weights are random: it is for
speed, memory and fidelity, never for quality. The decoder's bias is one constant, set so that a text has about
`--active` dimensions above zero, as trained SPLADE models do; the embedding's other statistics are the initializer's.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForMaskedLM, AutoTokenizer

MODEL = "models/korean-neural-sparse-encoder"


def make_checkpoint(shared: Path, out: Path, *, active: int = 75, layers: int | None = None, seed: int = 0) -> Path:
    """Save the checkpoint at `out`. `layers` cuts the encoder (tests want it small); None keeps the config's."""
    if not (shared / MODEL).is_dir():
        raise SystemExit(f"{shared / MODEL} is missing: set SPLADERT_SHARED to the folder of shared data")
    tokenizer = AutoTokenizer.from_pretrained(shared / MODEL)
    config = AutoConfig.from_pretrained(shared / MODEL)
    if layers is not None:
        config.num_hidden_layers = layers
        config.layer_types = config.layer_types[:layers]
    torch.manual_seed(seed)
    model = AutoModelForMaskedLM.from_config(config).eval()
    texts = (shared / "data/queries_short.txt").read_text(encoding="utf-8").splitlines()[:64]
    inputs = tokenizer(texts, padding=True, truncation=True, max_length=64, return_tensors="pt")
    with torch.no_grad():
        logits = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits
        pooled = logits.masked_fill(inputs["attention_mask"][..., None] == 0, -torch.inf).amax(dim=1)
        model.get_output_embeddings().bias.fill_(-pooled.topk(active, dim=1).values[:, -1].mean())
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    return out


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--active", type=int, default=75)
    parser.add_argument("--layers", type=int)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    make_checkpoint(
        Path(os.environ.get("SPLADERT_SHARED", "../shared")),
        args.out,
        active=args.active,
        layers=args.layers,
        seed=args.seed,
    )
