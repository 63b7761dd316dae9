"""Quantizing a whole graph: which scheme each of its layers gets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import onnx_ir as ir

from .calibrate import Observed
from .decoder import quantize_embedding
from .int4 import Int4Choice, choose_int4, importance, replace_int4
from .int8 import Int8Choice, choose_int8, replace_int8
from .sites import Floats, find_sites
from .smooth import divide, find_fold

Scheme = Literal["int8", "int4"]
Choice = Int8Choice | Int4Choice

LINEAR_LAYERS: dict[Scheme, dict[str, str]] = {
    "int8": {
        "activations": "uint8, static, per tensor",
        "weights": "int8 in 7 bits (exact with and without VNNI), symmetric, per channel",
    },
    "int4": {
        "activations": "float32, rounded to int8 a row by the kernel",
        "weights": "4 bits, asymmetric, per block of 32 rows",
    },
}
VOCABULARY = {
    "decoder": "uint8 static activations, int8 rows in 7 bits",
    "winners": "rescored with float32 activations and 15-bit rows",
}


@dataclass(frozen=True)
class Plan:
    """What is chosen for a site, with the factors to smooth it by and the importance of its channels, float32 [K]."""

    choice: Choice
    factors: Floats | None
    importance: Floats


def make_plans(model: ir.Model, observed: dict[str, Observed], scheme: Scheme) -> dict[str, Plan]:
    """A plan for every site of the fp32 graph, by the site's name; the decoder's is int8 in every scheme."""
    plans = {}
    for site in find_sites(model):
        seen = observed[site.name]
        choose = choose_int8 if scheme == "int8" or site.is_decoder else choose_int4
        choice, factors = choose(site, seen, smoothable=find_fold(site) is not None)
        plans[site.name] = Plan(choice, factors, importance(seen, factors))
    return plans


def quantize(model: ir.Model, plans: Mapping[str, Plan]) -> None:
    """Quantize the fp32 graph in place: its vocabulary, and the sites that have a plan; the others stay as they are."""
    planned = [(site, plans[site.name]) for site in find_sites(model) if site.name in plans]
    for site, plan in planned:
        fold = find_fold(site)
        if fold is not None and plan.factors is not None:
            divide(model.graph, fold, site, plan.factors)
    table = quantize_embedding(model.graph)
    for site, plan in planned:
        if isinstance(plan.choice, Int8Choice):
            replace_int8(model.graph, site, plan.choice, table)
        else:
            replace_int4(model.graph, site, plan.importance)
    model.opset_imports["com.microsoft"] = 1


def settings(scheme: Scheme, plans: Mapping[str, Plan], kept_fp32: Sequence[str]) -> dict[str, Any]:
    """What the manifest records of a quantization."""
    return {
        **LINEAR_LAYERS[scheme],
        **VOCABULARY,
        "kept_fp32": list(kept_fp32),
        "sites": [asdict(plan.choice) for plan in plans.values()],
    }
