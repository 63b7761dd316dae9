"""The model card's own PyTorch code, which everything is compared with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from spladert import SparseVector


class Card:
    """The model card's example, its model and tokenizer loaded once."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoModelForMaskedLM, AutoTokenizer

        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModelForMaskedLM.from_pretrained(folder).eval()

    def encode(self, text: str, max_length: int) -> Any:
        """Dense weights [V], line by line as in the card."""
        import torch
        from torch import nn

        inputs = self.tokenizer(text, return_tensors="pt", padding=True, truncation=True, max_length=max_length)
        inputs.pop("token_type_ids", None)
        with torch.no_grad():
            outputs = self.model(**inputs)
            logits = outputs.logits
            relu = nn.ReLU()
            token_scores = torch.log1p(relu(logits))
            mask = inputs["attention_mask"].unsqueeze(-1).float()
            sparse_repr = (token_scores * mask).max(dim=1).values[0]
        return sparse_repr.numpy()


def dense(vector: SparseVector, size: int) -> Any:
    """A vector as float32 [size]."""
    weights = np.zeros(size, np.float32)
    weights[vector.indices] = vector.values
    return weights
