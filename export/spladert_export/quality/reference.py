"""The reference every graph is measured against: the checkpoint's own `encode()` in PyTorch, each text by itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor

from ..checkpoint import Checkpoint

TOKENS_PER_BATCH = 2048  # the logits of one batch then take 400 MB with 50,000 vocabulary rows


def encode_reference(checkpoint: Checkpoint, texts: Sequence[str], max_length: int, *, prompt: str = "") -> Tensor:
    """Dense weights [texts, V], float32, of texts of at most `max_length` tokens with `prompt` before each.

    Computed as the checkpoint's head says over all logits [B, S, V], which is what the graph avoids. Texts run with
    others of the very same length, so that nothing is ever padded. A text without any token has no weights.
    """
    inputs = checkpoint.tokenizer([prompt + text for text in texts], truncation=True, max_length=max_length)
    by_length: dict[int, list[int]] = defaultdict(list)
    for position, ids in enumerate(inputs["input_ids"]):
        by_length[len(ids)].append(position)
    weights = torch.zeros(len(texts), checkpoint.vocabulary_size)
    for length, group in sorted(by_length.items()):
        step = max(TOKENS_PER_BATCH // max(length, 1), 1)
        for start in range(0, len(group) if length else 0, step):
            part = group[start : start + step]
            input_ids = torch.tensor([inputs["input_ids"][position] for position in part])
            attention_mask = torch.ones_like(input_ids)
            with torch.no_grad():
                logits = checkpoint.model(input_ids=input_ids, attention_mask=attention_mask).logits
                weights[part] = checkpoint.head.weigh(logits, attention_mask)
    return weights
