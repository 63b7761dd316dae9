"""The CPU variants of a bundle: fp32 as traced, and what is quantized of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from spladert import SparseEncoder
from spladert.bundle import Bundle, Manifest, Variant
from spladert.engine import PlacementRequest
from spladert.tokenizer import load_tokenizer, tokenize

from .checkpoint import Checkpoint
from .graph.passes import optimize
from .graph.trace import OPSET, trace
from .graph.writer import write_graph
from .package.bundle_writer import describe_file
from .quality.gate import ATTEMPTS, Gate, enforce, judge, order_of_return
from .quality.verification import check_fp32
from .quantize import Scheme, find_sites, make_plans, observe, quantize, settings

Progress = Callable[[str], None]


def make_fp32(folder: Path, checkpoint: Checkpoint, manifest: Manifest, progress: Progress) -> Variant:
    """Trace the checkpoint, write its graph to `folder` and check it.

    Raises:
        ExportError: a weight differs from PyTorch's by over 1e-4.
    """
    progress("trace")
    graph = trace(
        checkpoint.model,
        head=checkpoint.head,
        max_length=manifest.max_length,
        top_k=manifest.top_k,
        excluded=manifest.excluded_token_ids,
    )
    progress("optimize")
    rewrites = optimize(graph)
    progress("write fp32")
    variant = _write(folder, graph, "fp32", {"rewrites": rewrites})
    progress("check fp32 against PyTorch")
    return replace(variant, fidelity=check_fp32(load_variant(folder, manifest, variant), checkpoint).to_dict())


def make_quantized(
    folder: Path, fp32: Path, manifest: Manifest, scheme: Scheme, gate: Gate, progress: Progress
) -> Variant:
    """Quantize the fp32 graph, with as few of its layers left in fp32 as reach the goal, and write it to `folder`.

    Raises:
        ExportError: the variant loses too much, and the gate does not allow it.
    """
    progress(f"calibrate {scheme}")
    tokenizer = load_tokenizer(gate.checkpoint.tokenizer_json(), manifest.max_length)
    graph = ir.load(fp32)
    plans = make_plans(graph, observe(fp32, tokenize(tokenizer, gate.texts).input_ids), scheme)
    layers = [site.name for site in find_sites(graph) if not site.is_decoder]
    candidates = order_of_return(layers, {name: plan.choice.error for name, plan in plans.items()})
    for count in ATTEMPTS:
        kept = candidates[:count]
        progress(f"quantize {scheme}" if not kept else f"quantize {scheme}, {len(kept)} layers kept in fp32")
        graph = ir.load(fp32)
        chosen = {name: plan for name, plan in plans.items() if name not in kept}
        quantize(graph, chosen, scheme)
        RemoveUnusedNodesPass()(graph)
        variant = _write(folder, graph, scheme, settings(scheme, chosen, kept))
        progress(f"check {scheme} against PyTorch")
        verdict = judge(gate, load_variant(folder, manifest, variant))
        if verdict.reaches_goal:
            break
    enforce(gate, scheme, verdict)
    return replace(variant, fidelity=verdict.report)


def load_variant(folder: Path, manifest: Manifest, variant: Variant) -> SparseEncoder:
    """An encoder over a CPU variant of a bundle that is still being made."""
    bundle = Bundle(folder, replace(manifest, variants=(variant,)))
    return SparseEncoder.from_bundle(bundle, PlacementRequest("cpu", variant.name))


def _write(folder: Path, graph: ir.Model, precision: str, how: dict[str, Any]) -> Variant:
    name = f"cpu-{precision}"
    files = tuple(describe_file(path) for path in write_graph(graph, folder / f"{name}.onnx"))
    nodes = sum(1 for _ in graph.graph.all_nodes())
    return Variant(name, "cpu", precision, OPSET, files, settings={"nodes": nodes, **how})
