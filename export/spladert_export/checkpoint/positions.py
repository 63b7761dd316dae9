"""How many tokens a model takes, found by watching it: names of settings and offsets differ from model to model."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..graph.decoder import probe_ids
from ..graph.emit import find_rotary, layer_types, rotary_tables

PROBE_LENGTH = 6  # tokens
FEWEST = 8  # positions that every rotary table is taken to have


def usable_positions(model: Any) -> int | None:
    """The most tokens of a text, special tokens included; None where nothing limits it.

    A table of positions has a row a token and maybe some in front that no token gets (RoBERTa's begin behind the
    padding id): it is told by being read at consecutive rows. Rotary encoders have as many as their config says, and
    only as long as their angles do not change with the length of the text, for a graph holds one table of them.
    """
    limits = [rows - first for rows, first in _tables(model)]
    stated = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if not limits and isinstance(stated, int) and stated > 0:
        limits = [min([_constant_angles(rotary, stated) for rotary in find_rotary(model)], default=stated)]
    if getattr(model.config, "attention_type", None) == "block_sparse":  # BigBird's; of shorter texts it is full
        blocks = 5 + 2 * model.config.num_random_blocks
        limits.append(blocks * model.config.block_size)
    return min(limits, default=None)


def _tables(model: Any) -> list[tuple[int, int]]:
    """(rows, first row read) of each table of positions."""
    found: list[tuple[int, int]] = []

    def watch(module: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        weight = getattr(module, "weight", None)
        if not isinstance(weight, Tensor) or weight.dim() != 2:
            return
        for value in (*arguments, *named.values()):
            if isinstance(value, Tensor) and not value.is_floating_point() and value.numel() == PROBE_LENGTH:
                ids = value.flatten().tolist()
                if ids == list(range(ids[0], ids[0] + PROBE_LENGTH)):
                    found.append((weight.shape[0], ids[0]))

    hooks = [module.register_forward_pre_hook(watch, with_kwargs=True) for module in model.modules()]
    try:
        with torch.no_grad():
            model(input_ids=probe_ids(model, PROBE_LENGTH))
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _constant_angles(rotary: nn.Module, most: int) -> int:
    """The longest text, of at most `most` tokens, whose first positions have the angles that those of a short one have.

    Found by halving: "dynamic" and "longrope" angles are those of a short text up to some length.
    """
    short = {kind: rotary_tables(rotary, FEWEST, kind) for kind in layer_types(rotary)}

    def same(length: int) -> bool:
        tables = ((rotary_tables(rotary, length, kind), short[kind]) for kind in short)
        return all(
            torch.equal(whole[:, :FEWEST], part[:, :length])
            for pair, parts in tables
            for whole, part in zip(pair, parts, strict=True)
        )

    low, high = 1, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if same(middle) else (low, middle - 1)
    return low
