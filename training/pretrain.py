"""Masked-LM pretraining on all training text, cut to the model's length."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import ModernBertForMaskedLM

from training.config import MaskedLM
from training.model import autocast, pad
from training.tokenizer import CLS, MASK, SEP, SPECIAL


def windows(ids: list[list[int]], max_length: int) -> list[list[int]]:
    """Texts as consecutive windows with [CLS] and [SEP]; a leftover under 8 tokens is dropped."""
    width = max_length - 2
    return [
        [CLS, *row[start : start + width], SEP]
        for row in ids
        for start in range(0, len(row), width)
        if start == 0 or len(row) - start >= 8
    ]


def masked_lm_step(
    model: ModernBertForMaskedLM, texts: list[list[int]], settings: MaskedLM, seed: int
) -> Callable[[int], tuple[Tensor, dict[str, float]]]:
    lengths = np.array([len(text) for text in texts])
    per_epoch = max(1, int(lengths.sum() // settings.batch_tokens))

    @lru_cache(maxsize=2)
    def batches(epoch: int) -> list[np.ndarray]:
        """Blocks of texts of about the same length and `batch_tokens` tokens, in random order."""
        chance = np.random.default_rng([seed, 1, epoch])
        order = np.argsort(lengths + chance.uniform(0, 4, len(lengths)))
        cuts = np.searchsorted(np.cumsum(lengths[order]), np.arange(1, per_epoch) * settings.batch_tokens)
        blocks = np.split(order, cuts)
        chance.shuffle(blocks)
        return blocks

    def loss_of_step(step: int) -> tuple[Tensor, dict[str, float]]:
        block = batches(step // per_epoch)[step % per_epoch]
        ids, mask = pad([texts[i] for i in block])
        chance = torch.Generator().manual_seed(seed * 1_000_003 + step)
        chosen = (torch.rand(ids.shape, generator=chance) < settings.mask_rate) & (ids >= len(SPECIAL))
        labels = ids[chosen]
        kind = torch.rand(labels.shape, generator=chance)
        random_ids = torch.randint(len(SPECIAL), model.config.vocab_size, labels.shape, generator=chance)
        ids[chosen] = torch.where(kind < 0.8, torch.tensor(MASK), torch.where(kind < 0.9, random_ids, labels))
        with autocast():
            hidden = model.model(input_ids=ids, attention_mask=mask).last_hidden_state[chosen]
            logits = model.decoder(model.head(hidden))
        loss = F.cross_entropy(logits.float(), labels)
        right = (logits.detach().argmax(-1) == labels).float().mean()
        return loss, {"right": float(right)}

    return loss_of_step
