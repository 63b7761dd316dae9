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
    if key.shape[1] != heads:  # grouped queries: every head gets its group's keys and values
        key, value = (x.repeat_interleave(heads // x.shape[1], dim=1) for x in (key, value))
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
    for rotary in find_rotary(model):
        tables = {layer_type: rotary_tables(rotary, max_length, layer_type) for layer_type in layer_types(rotary)}
        home: ModuleType = sys.modules[type(rotary).__module__]
        fused = all(_is_plain(home.apply_rotary_pos_emb, *table) for table in tables.values())
        undo.append(_swap(rotary, "forward", _constant_tables(tables, fused=fused)))
        if fused:
            undo.append(_swap(home, "apply_rotary_pos_emb", _rotate))

    def restore() -> None:
        for step in reversed(undo):
            step()

    return restore


def find_rotary(model: nn.Module) -> list[nn.Module]:
    """The modules that make cosines and sines of positions, as transformers' rotary encoders have them."""
    return [
        module
        for module in model.modules()
        if type(module).__name__.endswith("RotaryEmbedding")
        and hasattr(sys.modules[type(module).__module__], "apply_rotary_pos_emb")
    ]


def layer_types(rotary: nn.Module) -> list[str | None]:
    """The kinds of layers that have tables of their own; [None] where all layers share one."""
    return list(getattr(rotary, "layer_types", [None]))


def rotary_tables(rotary: nn.Module, length: int, layer_type: str | None) -> tuple[Tensor, Tensor]:
    """Cosines and sines of the first `length` positions, [1, length, D] each, by the model's own code."""
    arguments = () if layer_type is None else (layer_type,)
    with torch.no_grad():
        cos, sin = type(rotary).forward(rotary, torch.zeros(1), torch.arange(length)[None], *arguments)
    return cos, sin


def _swap(owner: Any, name: str, new: Any) -> Callable[[], None]:
    old = getattr(owner, name)
    setattr(owner, name, new)
    return lambda: setattr(owner, name, old)


def _is_plain(apply: Callable[..., tuple[Tensor, Tensor]], cos: Tensor, sin: Tensor) -> bool:
    """Whether `apply` turns the two halves of a head against each other, as the RotaryEmbedding operator does."""
    half = cos.shape[-1] // 2
    x = torch.arange(cos.numel(), dtype=cos.dtype).sin().view(1, *cos.shape)  # [1, 1, L, D]
    first, second = x[..., :half], x[..., half:]
    c, s = cos[..., :half], sin[..., :half]
    turned = torch.cat([first * c - second * s, second * c + first * s], dim=-1)
    return all(torch.allclose(result, turned, atol=1e-5) for result in apply(x, x, cos, sin))


def _constant_tables(
    tables: dict[str | None, tuple[Tensor, Tensor]], *, fused: bool
) -> Callable[..., tuple[Tensor, Tensor]]:
    """A rotary module's `forward`: halves of the tables, [L, D / 2], for `_rotate`; else [1, S, D] for its own code."""
    half = {
        layer_type: tuple(table[0, :, : table.shape[-1] // 2].contiguous() for table in pair)
        for layer_type, pair in tables.items()
    }

    def forward(x: Tensor, position_ids: Tensor, layer_type: str | None = None) -> tuple[Tensor, Tensor]:
        if fused:
            cos, sin = half[layer_type]
            return cos, sin
        cos, sin = tables[layer_type]
        length = position_ids.shape[-1]
        return cos[:, :length], sin[:, :length]

    return forward


def _rotate(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, unsqueeze_dim: int = 1) -> tuple[Tensor, Tensor]:
    """com.microsoft RotaryEmbedding (not interleaved, as rotate_half) on [B, N, S, D] queries and keys."""
    start = torch.zeros(1, dtype=torch.int64)  # one offset for the whole batch: positions are 0..S-1
    turned = 2 * cos.shape[-1]  # some models turn only the first dimensions of a head

    def rotate(x: Tensor) -> Tensor:
        if turned < x.shape[-1]:
            return torch.cat([rotate(x[..., :turned]), x[..., turned:]], dim=-1)
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
