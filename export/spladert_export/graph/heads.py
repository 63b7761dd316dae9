"""From hidden states [B, S, H] to the k heaviest vocabulary entries of each text: what pooling and activation compute.

SPLADE's weight of vocabulary entry v, with logit[t, v] the masked language model's logit at token t:

    max pooling   max over the text's tokens t of f(logit[t, v])    (Formal et al. 2021, arXiv:2109.10086)
    sum pooling   sum over the text's tokens t of f(logit[t, v])    (Formal et al. 2021, arXiv:2107.05720)

and f the activation: log1p(relu(x)), or log1p(log1p(relu(x))) of OpenSearch's models (arXiv:2504.14839).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

Pooling = Literal["max", "sum"]
Activation = Literal["relu", "log1p_relu"]  # as sentence-transformers names them

POOLINGS: tuple[Pooling, ...] = get_args(Pooling)
LOG1PS: Mapping[Activation, int] = {"relu": 1, "log1p_relu": 2}  # how many log1p follow the relu

TILE = 4096  # vocabulary rows of one decoder tile: 2,048 tokens then need 32 MiB of logits at a time


@dataclass(frozen=True)
class Head:
    """What a checkpoint computes from its logits; the default is the card's and most models'."""

    pooling: Pooling = "max"
    activation: Activation = "relu"

    def activate(self, logits: Tensor, log1p: Callable[[Tensor], Tensor] = torch.log1p) -> Tensor:
        """f(logits), element by element."""
        x = torch.relu(logits)
        for _ in range(LOG1PS[self.activation]):
            x = log1p(x)
        return x

    def weigh(self, logits: Tensor, attention_mask: Tensor) -> Tensor:
        """Dense weights [B, V] of logits [B, S, V] as the formula is written: the reference of every graph."""
        scores = self.activate(logits) * attention_mask.unsqueeze(-1).to(logits.dtype)
        return scores.amax(dim=1) if self.pooling == "max" else scores.sum(dim=1)


class HeadGraph(nn.Module):
    """A head as it is traced: no [B, S, V] tensor ever exists, for the vocabulary is gone through in tiles.

    Args:
        head: what to compute.
        weight: float32 [V, H], the decoder's rows.
        bias: float32 [V].
        top_k: how many entries of a text are kept.
        excluded: ids that get weight 0.
        tile: vocabulary rows of a tile.
    """

    def __init__(
        self, head: Head, weight: Tensor, bias: Tensor, *, top_k: int, excluded: Sequence[int] = (), tile: int = TILE
    ) -> None:
        super().__init__()
        self.head = head
        self.top_k = top_k
        self.tiles = torch.split(weight.detach(), tile)  # views: what is tied to the embedding stays tied
        bias = bias.detach().clone()
        bias[list(excluded)] = torch.finfo(bias.dtype).min
        self.bias = nn.Parameter(bias, requires_grad=False)

    def forward(self, hidden: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """`indices` int32 [B, k] and `values` float32 [B, k], by falling weight."""
        pool = self._max if self.head.pooling == "max" else self._sum
        values, indices = torch.topk(pool(hidden, attention_mask), self.top_k, dim=-1, sorted=True)  # [B, k]
        if self.head.pooling == "max":
            values = self.head.activate(values, log1p)
        return indices.to(torch.int32), values

    def _max(self, hidden: Tensor, attention_mask: Tensor) -> Tensor:
        """Largest logits [B, V]. The activation is monotone and the bias knows no token: both come after the max."""
        # A padded token becomes a copy of the first one: the max cannot change, and needs no mask of its own.
        hidden = torch.where(attention_mask[:, :, None].bool(), hidden, hidden[:, :1])
        batch, sequence, width = hidden.shape
        rows = hidden.transpose(0, 1).reshape(sequence * batch, width)  # [S * B, H]: the max then runs along axis 0
        pooled = [gemm(rows, tile).view(sequence, batch, tile.shape[0]).amax(dim=0) for tile in self.tiles]
        return torch.cat(pooled, dim=-1) + self.bias

    def _sum(self, hidden: Tensor, attention_mask: Tensor) -> Tensor:
        """Weights [B, V]. Every token counts, so bias, activation and mask come before the sum, a tile at a time."""
        batch, sequence, width = hidden.shape
        rows = hidden.reshape(batch * sequence, width)
        mask = attention_mask[:, None, :].to(hidden.dtype)  # [B, 1, S]: its product with the scores is their sum
        pooled = []
        for tile, bias in zip(self.tiles, torch.split(self.bias, [tile.shape[0] for tile in self.tiles]), strict=True):
            scores = self.head.activate(gemm(rows, tile) + bias, log1p)
            pooled.append((mask @ scores.view(batch, sequence, tile.shape[0])).squeeze(1))
        return torch.cat(pooled, dim=-1)


def gemm(rows: Tensor, weight: Tensor) -> Tensor:
    """rows @ weight.T as ONNX Gemm, which takes the decoder's rows as they lie in the (often tied) embedding."""
    return torch.onnx.ops.symbolic(
        "Gemm", (rows, weight), {"transB": 1}, dtype=rows.dtype, shape=(rows.shape[0], weight.shape[0])
    )


def log1p(x: Tensor) -> Tensor:
    """log(1 + x) for x >= 0 out of ONNX operators, accurate for small x too (Goldberg 1991, theorem 4)."""
    u = 1 + x
    return torch.where(u == 1, x, torch.log(u) * x / (u - 1))
