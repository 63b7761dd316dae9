"""Observing a graph's activations on calibration texts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from spladert.engine.session import start_session

from .sites import Floats, find_sites

SAMPLE_ROWS = 512  # about as many rows kept of each activation, to measure quantization error on
TOKENS_PER_RUN = 512


@dataclass(frozen=True)
class Observed:
    """An activation over all calibration tokens, padding excluded.

    Attributes:
        low: float32 [K], smallest value of each channel.
        high: float32 [K], largest value of each channel.
        rows: float32 [at most SAMPLE_ROWS, K], a random sample of its rows.
    """

    low: Floats
    high: Floats
    rows: Floats


def _observing_session(graph: Path) -> tuple[Any, list[str]]:
    """A session of the graph whose sites' activations are outputs, and their names."""
    model = ir.load(graph)
    sites = find_sites(model)
    model.graph.outputs.extend(site.activation for site in sites)
    observed = graph.with_name("observed.onnx")  # beside the data, which it shares
    try:
        ir.save(model, observed)
        return start_session(observed), [site.name for site in sites]
    finally:
        observed.unlink(missing_ok=True)


def observe(graph: Path, token_ids: Sequence[Sequence[int]]) -> dict[str, Observed]:
    """Run the fp32 graph on the texts and observe the activation of each site, by its name.

    Texts run with others of the very same length, so that no padding is ever observed.
    """
    session, names = _observing_session(graph)
    by_length: dict[int, list[Sequence[int]]] = defaultdict(list)
    for ids in token_ids:
        if ids:
            by_length[len(ids)].append(ids)
    total = sum(length * len(group) for length, group in by_length.items())
    random = np.random.default_rng(0)
    low: dict[str, Floats] = {}
    high: dict[str, Floats] = {}
    rows: dict[str, list[Floats]] = defaultdict(list)
    for length, group in sorted(by_length.items()):
        step = max(TOKENS_PER_RUN // length, 1)
        for start in range(0, len(group), step):
            input_ids = np.array(group[start : start + step], dtype=np.int64)
            feeds = {"input_ids": input_ids, "attention_mask": np.ones_like(input_ids)}
            keep = random.random(input_ids.size) < SAMPLE_ROWS / total
            for name, value in zip(names, session.run(names, feeds), strict=True):
                flat = value.reshape(-1, value.shape[-1])
                low[name] = np.minimum(low.get(name, np.inf), flat.min(axis=0)).astype(np.float32)
                high[name] = np.maximum(high.get(name, -np.inf), flat.max(axis=0)).astype(np.float32)
                rows[name].append(flat[keep])
    return {name: Observed(low[name], high[name], np.concatenate(rows[name])) for name in names}
