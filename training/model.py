"""The model: a small ModernBERT masked language model, read as SPLADE."""

from __future__ import annotations

import json
from functools import reduce
from operator import add
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from scipy import sparse
from scipy.sparse.linalg import svds
from torch import Tensor
from torch.nn import functional as F
from transformers import ModernBertConfig, ModernBertForMaskedLM

from training.config import Shape
from training.tokenizer import CLS, PAD, SEP

MARGIN = 0.2  # logits this close below zero are trained too


def fast_dtype() -> torch.dtype:
    """bfloat16 where the CPU multiplies it; elsewhere PyTorch emulates it, 17 times slower than float32 on AVX2."""
    can = torch.cpu.get_capabilities()
    return torch.bfloat16 if can.get("avx512_bf16") or can.get("bf16") else torch.float32


def autocast() -> torch.autocast:
    dtype = fast_dtype()
    return torch.autocast("cpu", dtype, enabled=dtype != torch.float32)


def build(shape: Shape, max_length: int, seed: int) -> ModernBertForMaskedLM:
    torch.manual_seed(seed)
    return ModernBertForMaskedLM(
        ModernBertConfig(
            vocab_size=shape.vocab_size,
            hidden_size=shape.hidden,
            intermediate_size=shape.intermediate,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            max_position_embeddings=max_length,
            pad_token_id=PAD,
            bos_token_id=CLS,
            cls_token_id=CLS,
            eos_token_id=SEP,
            sep_token_id=SEP,
            tie_word_embeddings=True,
        )
    )


def co_occurrence_embedding(ids: list[list[int]], vocab_size: int, width: int, window: int = 6) -> np.ndarray:
    """Start embeddings: positive pointwise mutual information of nearby tokens, factorised to `width` dimensions."""
    flat = np.array([token for row in ids for token in [*row, -1]])
    text = np.cumsum(flat == -1)

    def pairs(distance: int) -> sparse.csr_matrix:
        """[vocab_size, vocab_size]: how often two tokens are that far apart, over the distance."""
        left, right = flat[:-distance], flat[distance:]
        near = (left >= 0) & (right >= 0) & (text[:-distance] == text[distance:])
        weights = np.full(int(near.sum()), 1.0 / distance, np.float32)
        return sparse.csr_matrix((weights, (left[near], right[near])), shape=(vocab_size, vocab_size))

    total = reduce(add, map(pairs, range(1, window + 1)))
    both = (total + total.T).tocoo()
    marginal = np.asarray(both.sum(1)).ravel()
    context = marginal**0.75 / (marginal**0.75).sum()
    information = np.log(both.data / (marginal[both.row] * context[both.col]) + 1e-12)
    keep = information > 0
    ppmi = sparse.csr_matrix((information[keep], (both.row[keep], both.col[keep])), shape=both.shape)
    left_vectors, strengths, _ = svds(ppmi.astype(np.float32), k=width, random_state=0)
    vectors = left_vectors * np.sqrt(strengths)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    noise = np.random.default_rng(0).normal(size=vectors.shape)
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    mixed = vectors / np.maximum(norms, 1e-6) + 0.5 * noise
    unit: np.ndarray = (mixed / np.linalg.norm(mixed, axis=1, keepdims=True)).astype(np.float32)
    return unit


def hidden_states(model: ModernBertForMaskedLM, ids: Tensor, mask: Tensor) -> Tensor:
    """States just before the decoder; a padded position repeats the first token's, so that a maximum ignores it."""
    with autocast():
        hidden = model.head(model.model(input_ids=ids, attention_mask=mask).last_hidden_state)
    hidden = hidden.float()  # [B, S, H]
    return torch.where(mask.bool().unsqueeze(-1), hidden, hidden[:, :1])


@torch.no_grad()
def _max_logits(hidden: Tensor, weight: Tensor, texts_at_once: int = 16) -> Tensor:
    """Largest logit of each vocabulary entry over the tokens, in the fast type, without the bias."""
    matrix, states = weight.to(fast_dtype()).T, hidden.to(fast_dtype())
    rows = [(part @ matrix).amax(1) for part in states.split(texts_at_once)]  # [b, S, V] -> [b, V]
    return torch.cat(rows).float()


class SparseLogits:
    """The logits worth a gradient: (row, entry) positions and their exact, differentiable values."""

    def __init__(self, rows: Tensor, entries: Tensor, values: Tensor, shape: tuple[int, int]) -> None:
        self.rows, self.entries, self.values, self.shape = rows, entries, values, shape

    def weights(self) -> Tensor:
        """SPLADE weights [B, V]: log1p(relu(logit)), zero where nothing was kept."""
        empty = torch.zeros(self.shape)
        return empty.index_put((self.rows, self.entries), torch.log1p(F.relu(self.values)))


def sparse_logits(
    model: ModernBertForMaskedLM,
    ids: Tensor,
    mask: Tensor,
    wanted: Tensor | None = None,
    limit: int = 768,
) -> SparseLogits:
    """Maxima over tokens, for (nearly) active entries, at most `limit` a text, and those marked in `wanted` [B, V].

    Inactive entries have no gradient in SPLADE, so only these are computed with one: the whole [B, S, V] tensor of
    logits never exists, and the step costs little more than its encoder.
    """
    hidden = hidden_states(model, ids, mask)
    weight, bias = model.decoder.weight, model.decoder.bias
    rough = _max_logits(hidden.detach(), weight) + bias.detach()  # [B, V]
    chosen = torch.zeros(rough.shape, dtype=torch.bool)
    best, entries = rough.topk(limit, dim=1)
    chosen.scatter_(1, entries, best > -MARGIN)
    if wanted is not None:
        chosen |= wanted
    rows, entries = chosen.nonzero(as_tuple=True)
    with torch.no_grad():
        sizes = chosen.sum(1).tolist()
        winners = []
        for text, part in enumerate(entries.split(sizes)):
            winners.append((hidden[text] @ weight[part].T).argmax(0) + text * hidden.shape[1])
    states = F.embedding(torch.cat(winners), hidden.flatten(0, 1))
    values = (states * F.embedding(entries, weight)).sum(-1) + bias[entries]
    return SparseLogits(rows, entries, values, (rough.shape[0], rough.shape[1]))


def sparse_logits_of(model: ModernBertForMaskedLM, rows: list[list[int]], targets: Tensor, limit: int) -> SparseLogits:
    """`sparse_logits` of token ids without special tokens, the entries that have a target among them."""
    ids, mask = pad([[CLS, *row, SEP] for row in rows])
    return sparse_logits(model, ids, mask, targets > 0, limit)


@torch.no_grad()
def encode(model: ModernBertForMaskedLM, ids: list[list[int]], batch: int = 32) -> sparse.csr_matrix:
    """Reference vectors of tokenized texts in full precision, as one sparse matrix."""
    model.eval()
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    found: list[sparse.csr_matrix] = []
    for start in range(0, len(order), batch):
        padded, mask = pad([ids[i] for i in order[start : start + batch]])
        logits = model(input_ids=padded, attention_mask=mask).logits
        largest = logits.masked_fill_(~mask.bool().unsqueeze(-1), 0.0).amax(1)  # before the activation: it is monotone
        weights = torch.log1p(F.relu(largest))
        found.append(sparse.csr_matrix(weights.numpy()))
    model.train()
    return sparse.vstack(found).tocsr()[np.argsort(order)]


def pad(rows: list[list[int]]) -> tuple[Tensor, Tensor]:
    width = max(map(len, rows))
    ids = torch.full((len(rows), width), PAD)
    mask = torch.zeros((len(rows), width), dtype=torch.long)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = torch.tensor(row)
        mask[number, : len(row)] = 1
    return ids, mask


def save_checkpoint(model: ModernBertForMaskedLM, folder: Path) -> None:
    """config.json and model.safetensors in fp16, without the decoder matrix, which is the embedding."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {
        name: tensor.detach().to(torch.float16).contiguous()
        for name, tensor in model.state_dict().items()
        if name != "decoder.weight"
    }
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)
    settings = model.config.to_dict() | {"architectures": ["ModernBertForMaskedLM"], "dtype": "float16"}
    settings.pop("_name_or_path", None)
    (folder / "config.json").write_text(json.dumps(settings, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
