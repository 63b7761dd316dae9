"""Make a Hugging Face encoder emit fused operators while it is traced.

transformers dispatches attention and its mask through two registries, so a fused operator goes into the graph at the
place where the model calls attention, whatever the architecture: no pattern has to be found again afterwards.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, bidirectional_mask_function
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

NAME = "spladert"
_MICROSOFT = "com.microsoft"


@contextmanager
def fused_operators(model: nn.Module, max_length: int) -> Iterator[None]:
    """While active, `model` emits one Attention per layer and one RotaryEmbedding per rotated tensor.

    Only for tracing: the emitted operators have no PyTorch implementation. `max_length` is the longest sequence of the
    traced graph, in tokens; masks and rotary tables are built for it.
    """
    config: Any = model.config
    before = config._attn_implementation
    ALL_ATTENTION_FUNCTIONS.register(NAME, _attention)
    ALL_MASK_ATTENTION_FUNCTIONS.register(NAME, _mask_builder(max_length))
    restore = _patch_rotary(model, max_length)
    config._attn_implementation = NAME
    try:
        yield
    finally:
        config._attn_implementation = before
        restore()
        # The registries keep no public way to unregister; the entry is inert without the config naming it.


def _attention(
    module: nn.Module,
    query: Tensor,  # [B, N, S, D]
    key: Tensor,  # [B, N, S, D]
    value: Tensor,  # [B, N, S, D]
    attention_mask: Tensor | None,  # [B, 1, S, S] additive bias
    scaling: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """ONNX Attention on [B, S, N * D]; result [B, S, N, D], as transformers' attention interface wants it.

    On CPU it takes about half the time of com.microsoft MultiHeadAttention with a mask, and two thirds of it without.
    """
    batch, heads, length, head_dim = query.shape
    q, k, v = (x.transpose(1, 2).reshape(batch, length, heads * head_dim) for x in (query, key, value))
    out = torch.onnx.ops.symbolic(
        "Attention",
        (q, k, v, attention_mask),
        {"q_num_heads": heads, "kv_num_heads": heads, "scale": head_dim**-0.5 if scaling is None else scaling},
        dtype=query.dtype,
        shape=(batch, length, heads * head_dim),
    )
    return out.view(batch, length, heads, head_dim), None


def _mask_builder(max_length: int) -> Callable[..., Tensor | None]:
    def build(
        *,
        mask_function: Callable[..., Any],
        config: Any,
        attention_mask: Tensor | None = None,
        dtype: torch.dtype = torch.float32,
        **_: Any,
    ) -> Tensor | None:
        """[B, 1, S, S] additive bias: 0 where a token may see another, the smallest number elsewhere."""
        if attention_mask is None:
            return None
        batch, length = attention_mask.shape
        keep = attention_mask[:, None, None, :].bool()
        window = getattr(config, "sliding_window", None)  # ModernBERT's reaches 64 tokens to either side
        if mask_function is not bidirectional_mask_function and (window is None or max_length - 1 > window):
            position = torch.arange(length)
            zero = torch.zeros((), dtype=torch.int64)
            keep = keep & mask_function(zero, zero, position[:, None], position[None, :])[None, None]
        bias = torch.where(keep, 0.0, torch.finfo(dtype).min).to(dtype)
        return bias.expand(batch, 1, length, length)

    return build


def _patch_rotary(model: nn.Module, max_length: int) -> Callable[[], None]:
    """Replace rotary modules by constant tables and `apply_rotary_pos_emb` by the RotaryEmbedding operator."""
    undo: list[Callable[[], None]] = []
    for module in list(model.modules()):
        if type(module).__name__ == "ModernBertRotaryEmbedding":
            undo.append(_swap(module, "forward", _constant_tables(module, max_length)))
            home: ModuleType = sys.modules[type(module).__module__]
            undo.append(_swap(home, "apply_rotary_pos_emb", _rotate))

    def restore() -> None:
        for step in reversed(undo):
            step()

    return restore


def _swap(owner: Any, name: str, new: Any) -> Callable[[], None]:
    old = getattr(owner, name)
    setattr(owner, name, new)
    return lambda: setattr(owner, name, old)


def _constant_tables(rotary: nn.Module, max_length: int) -> Callable[..., tuple[Tensor, Tensor]]:
    """Cosines and sines of the first `max_length` positions, [L, D/2] each, computed once by the model's own code."""
    tables: dict[str, tuple[Tensor, Tensor]] = {}
    with torch.no_grad():
        for layer_type in rotary.layer_types:  # type: ignore[union-attr]
            cos, sin = type(rotary).forward(rotary, torch.zeros(1), torch.arange(max_length)[None], layer_type)
            half = cos.shape[-1] // 2
            tables[layer_type] = (cos[0, :, :half].contiguous(), sin[0, :, :half].contiguous())

    def forward(x: Tensor, position_ids: Tensor, layer_type: str) -> tuple[Tensor, Tensor]:
        return tables[layer_type]

    return forward


def _rotate(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, unsqueeze_dim: int = 1) -> tuple[Tensor, Tensor]:
    """com.microsoft RotaryEmbedding (not interleaved, as rotate_half) on [B, N, S, D] queries and keys."""
    start = torch.zeros(1, dtype=torch.int64)  # one offset for the whole batch: positions are 0..S-1

    def rotate(x: Tensor) -> Tensor:
        batch, heads, length, head_dim = x.shape
        flat = x.transpose(1, 2).reshape(batch, length, heads * head_dim)
        out = torch.onnx.ops.symbolic(
            f"{_MICROSOFT}::RotaryEmbedding",
            (flat, start, cos, sin),
            {"interleaved": 0, "num_heads": heads},
            dtype=x.dtype,
            shape=(batch, length, heads * head_dim),
            version=1,
        )
        return out.view(batch, length, heads, head_dim).transpose(1, 2)

    return rotate(q), rotate(k)
