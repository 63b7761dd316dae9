"""Graph rewrites: each module is one, a function `Model -> number of places changed`, exact in what it computes."""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from .collapse_reshapes import collapse_reshapes
from .simplify import simplify
from .split_projections import split_projections
from .strip_metadata import strip_metadata

PASSES: tuple[Callable[[ir.Model], int], ...] = (
    simplify,
    split_projections,
    collapse_reshapes,
    strip_metadata,
)


def optimize(model: ir.Model) -> dict[str, int]:
    """Run all passes in order, in place; returns how many places each changed."""
    changed = {}
    for rewrite in PASSES:
        changed[rewrite.__name__] = rewrite(model)
        RemoveUnusedNodesPass()(model)
    return changed
