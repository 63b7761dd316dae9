"""How a whole fp32 graph becomes int8 or int4 for CPUs, and which of its layers go back to fp32 first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import onnx_ir as ir

from ..calibration import Observed
from ..graph.edit import Floats
from ..material import Draft, Material, Plan
from . import int4, int8
from .decoder import quantize_vocabulary, replace_decoder, replace_embedding
from .parallel import map_parts
from .search import ALPHAS, Choice, choose
from .sites import Linear, Site, find_sites
from .smooth import divide, find_fold

AnyChoice = Choice | int4.Int4Choice
C = TypeVar("C", bound=AnyChoice)
Chosen = tuple[C, Floats | None]  # what is chosen for a site, and the factors of its smoothing

INT8 = {
    "activations": "uint8, static, per tensor",
    "weights": "int8 of 7 bits (exact with and without VNNI), symmetric, per channel",
    "decoder": "as the other layers",
    "winners": "rescored with float32 activations and 15-bit rows",
}
INT4 = {
    "activations": "float32, rounded to int8 a row by the kernel",
    "weights": "4 bits, asymmetric, per block of 32 rows",
    "decoder": "uint8 static activations, int8 weights of 7 bits",
    "winners": "rescored with float32 activations and 7-bit rows",
}


@dataclass(frozen=True)
class _Scheme:
    """What int8 and int4 differ in: the choice for a layer, its quantized weight, and what takes the layer's place."""

    choose: Callable[[Site, Observed, Sequence[float | None]], Chosen[Any]]
    quantize: Callable[[Linear, Observed, Floats | None], Any]
    replace: Callable[[ir.Graph, Site, Any, Mapping[str, Any]], None]  # site, choice, weights by the layers' outputs
    with_low: bool  # whether vocabulary rows keep 8 more bits
    description: Mapping[str, str]


def plan_int8(material: Material) -> Plan:
    """Every product in int8, the vocabulary too."""

    def replace(graph: ir.Graph, site: Site, choice: Choice, weights: Mapping[str, int8.QuantizedWeight]) -> None:
        x = int8.quantize_activation(graph, site, choice)
        for linear in site.linears:
            int8.replace_linear(graph, linear, weights[linear.output], x)

    return _plan(
        material,
        _Scheme(
            choose=lambda site, seen, alphas: choose(site, seen, int8.GRID, alphas=alphas),
            quantize=lambda linear, seen, factors: int8.quantize_linear(linear),
            replace=replace,
            with_low=True,
            description=INT8,
        ),
    )


def plan_int4(material: Material) -> Plan:
    """The layers' weights in 4 bits; the vocabulary in int8, without the rest of its rows: int4 is for size."""

    def replace(graph: ir.Graph, site: Site, choice: int4.Int4Choice, weights: Mapping[str, int4.PackedWeight]) -> None:
        for linear in site.linears:
            int4.replace_linear(graph, linear, weights[linear.output])

    return _plan(
        material,
        _Scheme(
            choose=lambda site, seen, alphas: int4.choose_int4(site, seen, alphas=alphas),
            quantize=lambda linear, seen, factors: int4.quantize_linear(linear, int4.importance(seen, factors)),
            replace=replace,
            with_low=False,
            description=INT4,
        ),
    )


def _plan(material: Material, scheme: _Scheme) -> Plan:
    graph, observed = material.fp32.clone(), material.observed
    sites = find_sites(graph)
    layers, [decoder] = [s for s in sites if not s.is_decoder], [s for s in sites if s.is_decoder]
    choices = map_parts(lambda site: scheme.choose(site, observed[site.role], alphas_for(site)), layers)
    chosen = {site.role: choice for site, choice in zip(layers, choices, strict=True)}
    decoder_choice, _ = material.once(
        "decoder in int8", lambda: choose(decoder, observed[decoder.role], int8.GRID, alphas=alphas_for(decoder))
    )
    smooth(graph, chosen)
    vocabulary = quantize_vocabulary(graph, decoder, with_low=scheme.with_low)
    linears = [(linear, observed[site.role], chosen[site.role][1]) for site in layers for linear in site.linears]
    quantized_weights = map_parts(lambda part: scheme.quantize(*part), linears)
    weights = {linear.output: weight for (linear, _, _), weight in zip(linears, quantized_weights, strict=True)}

    def build(keep_fp32: Sequence[str]) -> Draft:
        draft = graph.clone()
        quantized: list[AnyChoice] = []
        for site in find_sites(draft):
            if site.is_decoder:
                x = int8.quantize_activation(draft.graph, site, decoder_choice)
                replace_decoder(draft.graph, site, x, vocabulary.decoder)
                quantized.append(decoder_choice)
            elif site.role not in keep_fp32:
                scheme.replace(draft.graph, site, chosen[site.role][0], weights)
                quantized.append(chosen[site.role][0])
        if vocabulary.embedding is not None:
            replace_embedding(draft.graph, vocabulary.embedding)
        draft.opset_imports["com.microsoft"] = 1
        settings = {"kept_fp32": list(keep_fp32), "sites": [asdict(choice) for choice in quantized]}
        return Draft(draft, {**scheme.description, **settings})

    return Plan(build, fallback_order([choice for choice, _ in chosen.values()]))


def alphas_for(site: Site) -> Sequence[float | None]:
    """The alphas to try: none where nothing takes the factors."""
    return ALPHAS if find_fold(site) is not None else (None,)


def smooth(model: ir.Model, chosen: Mapping[str, Chosen[Any]]) -> None:
    """Fold the factors that were chosen, by the sites' roles, into an fp32 graph: it computes the same as before."""
    for site in find_sites(model):
        _, factors = chosen.get(site.role, (None, None))
        fold = find_fold(site)
        if factors is not None and fold is not None:
            divide(model.graph, fold, site, factors)


def fallback_order(choices: Sequence[AnyChoice]) -> tuple[str, ...]:
    """Roles of the layers, the decoder not among them, in the order in which they are left precise.

    The head's dense layer comes first: nothing after it averages its error out, and it is less than 1% of the work.
    The others follow by their own error, largest first. The decoder is not one of them: its winners are rescored.
    """
    ordered = sorted(choices, key=lambda choice: (choice.site != "head.dense", -choice.error))
    return tuple(choice.site for choice in ordered)
