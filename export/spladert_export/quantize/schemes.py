"""Quantizing a whole graph: which scheme each of its layers gets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import onnx_ir as ir

from .calibrate import Observed
from .decoder import quantize_decoder, quantize_embedding
from .int4 import Int4Choice, choose_int4, importance, replace_int4
from .int8 import Int8Choice, choose_int8, quantize_activation, replace_int8
from .sites import Floats, find_sites
from .smooth import divide, find_fold

Scheme = Literal["int8", "int4"]
Choice = Int8Choice | Int4Choice

SCHEMES: tuple[Scheme, ...] = get_args(Scheme)
# Whether vocabulary rows keep 8 more bits: int8's weights gain by them, while int4 is for size.
WITH_LOW: dict[Scheme, bool] = {"int8": True, "int4": False}
DESCRIPTION: dict[Scheme, dict[str, str]] = {
    "int8": {
        "activations": "uint8, static, per tensor",
        "weights": "int8 of 7 bits (exact with and without VNNI), symmetric, per channel",
        "decoder": "as the other layers",
        "winners": "rescored with float32 activations and 15-bit rows",
    },
    "int4": {
        "activations": "float32, rounded to int8 a row by the kernel",
        "weights": "4 bits, asymmetric, per block of 32 rows",
        "decoder": "uint8 static activations, int8 weights of 7 bits",
        "winners": "rescored with float32 activations and 7-bit rows",
    },
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


def quantize(model: ir.Model, plans: Mapping[str, Plan], scheme: Scheme) -> None:
    """Quantize the fp32 graph in place: its vocabulary, and the sites that have a plan; the others stay as they are."""
    planned = [(site, plans[site.name]) for site in find_sites(model) if site.name in plans]
    for site, plan in planned:
        fold = find_fold(site)
        if fold is not None and plan.factors is not None:
            divide(model.graph, fold, site, plan.factors)
    with_low = WITH_LOW[scheme]
    table = quantize_embedding(model.graph, with_low=with_low)
    for site, plan in planned:
        if isinstance(plan.choice, Int4Choice):
            replace_int4(model.graph, site, plan.importance)
        elif site.is_decoder:
            activation = quantize_activation(model.graph, site, plan.choice)
            quantize_decoder(model.graph, site, activation, table, with_low=with_low)
        else:
            replace_int8(model.graph, site, plan.choice)
    model.opset_imports["com.microsoft"] = 1


def settings(scheme: Scheme, plans: Mapping[str, Plan], kept_fp32: Sequence[str]) -> dict[str, Any]:
    """What the manifest records of a quantization."""
    return {
        **DESCRIPTION[scheme],
        "kept_fp32": list(kept_fp32),
        "sites": [asdict(plan.choice) for plan in plans.values()],
    }
