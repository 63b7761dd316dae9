"""The decoder of a masked language model: the matrix and bias that turn a hidden state into logits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from spladert import ExportError


@dataclass(frozen=True)
class Decoder:
    """logits = hidden @ weight.T + bias; weight float32 [V, H], often the token embedding's own, bias float32 [V]."""

    weight: Tensor
    bias: Tensor


@contextmanager
def capture_hidden_states(model: Any) -> Iterator[list[Tensor]]:
    """While active, `model` computes no logits; gives the list that its hidden states [B, S, H] are put in.

    The decoder is only passed by: its weights, which may be tied, stay in place.
    """
    decoder = model.get_output_embeddings()
    captured: list[Tensor] = []

    def capture(hidden: Tensor) -> Tensor:
        captured.append(hidden)
        return hidden.new_zeros(*hidden.shape[:-1], decoder.weight.shape[0])

    decoder.forward = capture
    try:
        yield captured
    finally:
        del decoder.forward


def probe_ids(model: Any, length: int) -> Tensor:
    """int64 [1, length] of ids, no two of them neighbours, from the middle of the vocabulary: no special tokens."""
    vocabulary = int(model.get_input_embeddings().weight.shape[0])
    return (vocabulary // 2 + 2 * torch.arange(length))[None] % vocabulary


def find_decoder(model: Any) -> Decoder:
    """The decoder, checked on a short text: what the model does after it may only be to add a bias.

    Raises:
        ExportError: the model has no decoder, or its logits are not the decoder's product with one hidden state.
    """
    kind = type(model).__name__
    layer = model.get_output_embeddings()
    if layer is None or getattr(layer, "weight", None) is None:
        raise ExportError(f"{kind} has no decoder to give token weights; export a model for masked language modeling")
    input_ids = probe_ids(model, 5)
    weight = layer.weight.detach()
    with torch.no_grad():
        logits = model(input_ids=input_ids).logits  # [1, S, V]
        try:
            with capture_hidden_states(model) as captured:
                added = model(input_ids=input_ids).logits  # [1, S, V]: what else there is beside the product
            own = 0 if getattr(layer, "bias", None) is None else layer.bias
            bias = added[0, 0] + own
            made = captured[0] @ weight.T + bias
        except (RuntimeError, IndexError):  # shapes that do not fit, or no hidden state at all
            made = torch.empty(0)
    if made.shape != logits.shape or not torch.allclose(made, logits, rtol=1e-3, atol=1e-3):
        raise ExportError(
            f"{kind} with this config makes its logits otherwise than by one product of a token's hidden state with "
            "its decoder, which cannot be exported"
        )
    return Decoder(weight, bias.clone())
