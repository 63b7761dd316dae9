"""The reference every graph is measured against: the model card's own `encode()`, for a batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..checkpoint import Checkpoint


def encode_reference(checkpoint: Checkpoint, texts: Sequence[str], max_length: int) -> Tensor:
    """Dense weights [texts, V], float32: the max over tokens with mask 1 of log1p(relu(logits)), as in the card."""
    inputs = checkpoint.tokenizer(
        list(texts), return_tensors="pt", padding=True, truncation=True, max_length=max_length
    )
    inputs = {name: inputs[name] for name in ("input_ids", "attention_mask")}
    with torch.no_grad():
        logits = checkpoint.model(**inputs).logits  # [B, S, V]: the reference is what the graph avoids
        token_scores = torch.log1p(torch.relu(logits))
        mask = inputs["attention_mask"].unsqueeze(-1).float()
        weights: Tensor = (token_scores * mask).max(dim=1).values
    return weights
