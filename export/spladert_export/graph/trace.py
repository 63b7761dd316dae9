"""Trace a checkpoint into one ONNX graph, token ids in, top-k (token id, weight) out."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import onnx_ir as ir
import torch
from torch import Tensor, nn

from .emit import fused_operators

OPSET = 23  # the first with Attention
TILE = 4096  # vocabulary rows of one decoder tile: 2,048 tokens then need 32 MiB of logits at a time


class SpladeGraph(nn.Module):
    """The whole encoding as one module, written so that no [B, S, V] tensor ever exists.

    weight[b, v] = max over t with mask[b, t] = 1 of log1p(relu(logit[b, t, v])), SPLADE-max of Formal et al. 2021,
    arXiv:2109.10086.
    """

    def __init__(self, model: Any, top_k: int, excluded: Sequence[int]) -> None:
        super().__init__()
        decoder = model.get_output_embeddings()
        vocabulary = decoder.weight.shape[0]
        self.top_k = top_k
        self.tiles = [decoder.weight.detach()[start : start + TILE] for start in range(0, vocabulary, TILE)]
        bias = torch.zeros(vocabulary) if decoder.bias is None else decoder.bias.detach().clone()
        bias[list(excluded)] = torch.finfo(bias.dtype).min
        self.bias = nn.Parameter(bias, requires_grad=False)
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        # While tracing, the decoder passes its input on: the "logits" are hidden states.
        hidden = self.model(input_ids=input_ids, attention_mask=attention_mask).logits  # [B, S, H]
        # A padded token becomes a copy of the first one: the max cannot change, and needs no mask of its own.
        hidden = torch.where(attention_mask[:, :, None].bool(), hidden, hidden[:, :1])
        batch, sequence, width = hidden.shape
        rows = hidden.transpose(0, 1).reshape(sequence * batch, width)  # [S * B, H]: the max then runs along axis 0
        pooled = [(_gemm(rows, tile)).view(sequence, batch, tile.shape[0]).amax(dim=0) for tile in self.tiles]
        # log1p and relu are monotone and the bias knows no token: all three come after the max.
        logits = torch.cat(pooled, dim=-1) + self.bias  # [B, V]
        values, indices = torch.topk(logits, self.top_k, dim=-1, sorted=True)  # [B, k]
        return indices.to(torch.int32), log1p(torch.relu(values))


def _gemm(rows: Tensor, weight: Tensor) -> Tensor:
    """rows @ weight.T as ONNX Gemm, which takes the decoder's rows as they lie in the (often tied) embedding."""
    return torch.onnx.ops.symbolic(
        "Gemm", (rows, weight), {"transB": 1}, dtype=rows.dtype, shape=(rows.shape[0], weight.shape[0])
    )


def log1p(x: Tensor) -> Tensor:
    """log(1 + x) for x >= 0 out of ONNX operators, accurate for small x too (Goldberg 1991, theorem 4)."""
    u = 1 + x
    return torch.where(u == 1, x, torch.log(u) * x / (u - 1))


def trace(model: Any, *, max_length: int, top_k: int, excluded: Sequence[int]) -> ir.Model:
    """The graph of `model` (a masked language model in evaluation mode), for at most `max_length` tokens.

    Inputs `input_ids`, `attention_mask`: int64 [batch, sequence], both dynamic. Outputs `indices` int32 [batch, k] and
    `values` float32 [batch, k], by falling weight. Ids in `excluded` get weight 0.
    """
    graph = SpladeGraph(model, top_k, excluded).eval()
    input_ids = torch.ones(2, min(8, max_length), dtype=torch.int64)
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("sequence", max=max_length)}
    with torch.no_grad(), _without_decoder(model), fused_operators(model, max_length), _quiet():
        program = torch.onnx.export(
            graph,
            (input_ids, torch.ones_like(input_ids)),
            input_names=["input_ids", "attention_mask"],
            output_names=["indices", "values"],
            dynamic_shapes={"input_ids": axes, "attention_mask": axes},
            opset_version=OPSET,
            dynamo=True,
            optimize=False,  # see passes.simplify
            verbose=False,
        )
    assert program is not None
    return program.model


@contextmanager
def _without_decoder(model: Any) -> Iterator[None]:
    """`model(...).logits` is what the decoder is given; its weights, which may be tied, stay in place."""
    decoder = model.get_output_embeddings()
    decoder.forward = lambda hidden: hidden
    try:
        yield
    finally:
        del decoder.forward


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's remarks (torchvision is not installed, ...) out of the user's terminal."""
    exporter = logging.getLogger("torch.onnx")
    level = exporter.level
    exporter.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        exporter.setLevel(level)
