"""Trace a checkpoint into one ONNX graph, token ids in, top-k (token id, weight) out."""

from __future__ import annotations

import logging
import warnings
from typing import Any, cast

import onnx_ir as ir
import torch
from torch import Tensor, nn

from .emit import fused_operators

OPSET = 21
TILE = 4096  # vocabulary columns a decoder tile covers: 32 texts of 64 tokens need 32 MiB of logits at a time


class SpladeGraph(nn.Module):
    """The whole encoding as one module, written so that no [B, S, V] tensor ever exists.

    weight[b, v] = max over t with mask[b, t] = 1 of log1p(relu(logit[b, t, v])) (SPLADE-max, Formal et al. 2021)
    """

    def __init__(self, model: Any, top_k: int, excluded: list[int]) -> None:
        super().__init__()
        decoder = model.get_output_embeddings()
        self.top_k = top_k
        self.vocabulary = decoder.weight.shape[0]
        self.tiles = [decoder.weight[start : start + TILE] for start in range(0, self.vocabulary, TILE)]
        bias = torch.zeros(self.vocabulary) if decoder.bias is None else decoder.bias.detach().clone()
        bias[excluded] = -torch.inf
        self.bias = nn.Parameter(bias, requires_grad=False)
        model.set_output_embeddings(nn.Identity())  # model(...).logits is now what the decoder would be given
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.model(input_ids=input_ids, attention_mask=attention_mask).logits  # [B, S, H]
        # A padded token becomes a copy of the first one: the max cannot change, and needs no mask of its own.
        hidden = torch.where(attention_mask[:, :, None].bool(), hidden, hidden[:, :1])
        hidden = hidden.transpose(0, 1)  # [S, B, H]: the max then runs along the outermost axis
        pooled = torch.cat([(hidden @ tile.T).amax(dim=0) for tile in self.tiles], dim=-1)  # [B, V]
        # log1p and relu are monotone and the bias knows no token: both come after the max.
        values, indices = torch.topk(pooled + self.bias, self.top_k, dim=-1, sorted=True)  # [B, k]
        return indices.to(torch.int32), log1p(torch.relu(values))


def log1p(x: Tensor) -> Tensor:
    """log(1 + x) for x >= 0 out of ONNX operators, accurate for small x (Goldberg 1991, theorem 4)."""
    u = 1 + x
    return torch.where(u == 1, x, torch.log(u) * x / (u - 1))


def trace(model: Any, *, max_length: int, top_k: int, excluded: list[int]) -> ir.Model:
    graph = SpladeGraph(model, top_k, excluded).eval()
    input_ids = torch.ones(2, min(8, max_length), dtype=torch.int64)
    attention_mask = torch.ones_like(input_ids)
    batch, sequence = torch.export.Dim("batch"), torch.export.Dim("sequence", max=max_length)
    with torch.no_grad(), fused_operators(model, max_length), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            graph,
            (input_ids, attention_mask),
            input_names=["input_ids", "attention_mask"],
            output_names=["indices", "values"],
            dynamic_shapes={"input_ids": {0: batch, 1: sequence}, "attention_mask": {0: batch, 1: sequence}},
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
            custom_translation_table={},
        )
    return cast(ir.Model, program.model)
