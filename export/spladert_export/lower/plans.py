"""How the fp32 graph becomes a GPU's: lowered to operators that the target fuses, then given its short types."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from ..calibration import largest_values
from ..material import Draft, Material, Plan
from ..quantize import qdq
from ..quantize.schemes import alphas_for, fallback_order, smooth
from ..quantize.search import choose
from ..quantize.sites import find_sites
from .cuda import lower_for_cuda
from .half import LARGEST, NORMS, to_half
from .plain import lower_to_plain

HEADROOM = 16  # times what calibration texts reach must fit fp16, or a value stays fp32
INT8 = {"activations": "int8, static, symmetric, per tensor", "weights": "int8, symmetric, per channel"}

Lower = Callable[[ir.Model], dict[str, int]]


@dataclass(frozen=True)
class Lowered:
    """An fp32 graph of a target's operators, what changed, and the largest number of each of its values, by name."""

    graph: ir.Model
    rewrites: dict[str, int]
    largest: Mapping[str, float]


def plan_cuda(material: Material, short: ir.DataType) -> Plan:
    """Products of the short type; norms follow the residual sums, and have fp32 sums inside whatever their type."""
    lowered = material.once(lower_for_cuda, lambda: _lower(material.fp32, lower_for_cuda, material))
    return Plan(lambda keep: _shorten(lowered, lowered.graph.clone(), material.roles, short=short))


def plan_tensorrt(material: Material, short: ir.DataType) -> Plan:
    """Products of the short type and fp32 norms: TensorRT fuses the casts around these away."""
    lowered = material.once(lower_to_plain, lambda: _lower(material.fp32, lower_to_plain, material))
    return Plan(lambda keep: _shorten(lowered, lowered.graph.clone(), material.roles, short=short, fp32=NORMS))


def plan_tensorrt_int8(material: Material, short: ir.DataType) -> Plan:
    """As `plan_tensorrt`, with int8 around the products of the encoder."""
    graph = material.fp32.clone()
    layers = [site for site in find_sites(graph) if not site.is_decoder]
    chosen = {
        site.role: choose(site, material.observed[site.role], qdq.GRID, alphas=alphas_for(site)) for site in layers
    }
    smooth(graph, chosen)
    weights = {site.role: [qdq.quantize_linear(linear) for linear in site.linears] for site in layers}
    plain = _lower(graph, lower_to_plain, material)
    pairs = {qdq.dequantized_name(site): plain.largest[site.name] for site in layers}
    lowered = Lowered(plain.graph, plain.rewrites, {**plain.largest, **pairs})

    def build(keep_fp16: Sequence[str]) -> Draft:
        draft = graph.clone()
        sites = [site for site in find_sites(draft) if site.role in chosen and site.role not in keep_fp16]
        for site in sites:
            qdq.insert_qdq(draft.graph, site, chosen[site.role][0], weights[site.role])
        lower_to_plain(draft)
        shortened = _shorten(lowered, draft, material.roles, short=short, fp32=NORMS)
        choices = [asdict(chosen[site.role][0]) for site in sites]
        settings = {**INT8, "kept_fp16": [*keep_fp16, "decoder"], "sites": choices}
        return Draft(draft, {**shortened.settings, **settings})

    return Plan(build, fallback_order([choice for choice, _ in chosen.values()]))


def _lower(fp32: ir.Model, lower: Lower, material: Material) -> Lowered:
    graph = fp32.clone()
    rewrites = lower(graph)
    RemoveUnusedNodesPass()(graph)
    return Lowered(graph, rewrites, largest_values(graph, material.folder, material.token_ids))


def _shorten(
    lowered: Lowered, graph: ir.Model, roles: Mapping[str, str], *, short: ir.DataType, fp32: Collection[str] = ()
) -> Draft:
    """Give a lowered graph its types, in place: short, or fp32 where an operator or a value has to be."""
    wide = {name for name, value in lowered.largest.items() if not value * HEADROOM <= LARGEST}
    to_half(graph, wide=wide, wide_operators=fp32, short=short)
    RemoveUnusedNodesPass()(graph)
    settings: dict[str, Any] = {
        "rewrites": lowered.rewrites,
        "fp32_nodes": dict(Counter(node.op_type for node in graph.graph if _makes_fp32(node))),
        "too_large_for_fp16": sorted({_role(name, roles) for name in wide}),
    }
    return Draft(graph, settings)


def _makes_fp32(node: ir.Node) -> bool:
    return node.op_type != "Cast" and any(value.dtype == ir.DataType.FLOAT for value in node.outputs)


def _role(name: str, roles: Mapping[str, str]) -> str:
    """The role of a value of a lowered graph: new ones are called after the old one that they help to make."""
    while name not in roles:
        name, _, rest = name.rpartition(".")
        assert rest
    return roles[name]
