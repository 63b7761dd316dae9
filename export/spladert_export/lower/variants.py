"""The GPU variants of a bundle: cuda fp16 and bf16, tensorrt fp16 and int8, all out of the fp32 graph."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from spladert import ExportError, SparseEncoder
from spladert.bundle import Bundle, Manifest, Variant
from spladert.engine import Placement
from spladert.engine.cpu import SessionEngine
from spladert.engine.session import start_session
from spladert.tokenizer import load_tokenizer, tokenize

from ..graph.writer import write_graph
from ..package.bundle_writer import describe_file
from ..quality.gate import ATTEMPTS, Gate, Verdict, enforce, judge, order_of_return
from ..quantize import find_sites, observe, qdq
from ..quantize.calibrate import Observed
from . import plain
from .cuda import lower_for_cuda
from .emulate import emulate_half
from .half import BRAIN, HALF, LARGEST, NORMS, to_half
from .ranges import largest_values

# What `precisions` calls them, and their target and precision. A name without a target means the usual one.
GPU_VARIANTS = {
    "fp16": ("cuda", "fp16"),
    "bf16": ("cuda", "bf16"),
    "tensorrt-fp16": ("tensorrt", "fp16"),
    "tensorrt-int8": ("tensorrt", "int8"),
}
HEADROOM = 16  # times what calibration texts reach must fit fp16, or a value stays fp32
MOST_TOP_K = 3840  # TensorRT's TopK takes no more (NVIDIA/TensorRT#4244)
MEASURED_ON = "CPUExecutionProvider, in fp32 with every fp16 and bf16 value rounded as it would be"


@dataclass(frozen=True)
class Job:
    """What the variants are made from; `fp32` is the CPU's fp32 graph in the bundle's folder."""

    fp32: Path
    manifest: Manifest
    gate: Gate
    progress: Callable[[str], None]


def refuse_gpu(names: Sequence[str], top_k: int) -> None:
    """Refuse early what TensorRT would refuse late.

    Raises:
        ExportError: `top_k` is more than its TopK takes.
    """
    if top_k > MOST_TOP_K and any(GPU_VARIANTS[name][0] == "tensorrt" for name in names if name in GPU_VARIANTS):
        raise ExportError(f"top_k is {top_k}, and TensorRT takes at most {MOST_TOP_K}; give less with --top-k")


def make_gpu_variant(job: Job, name: str) -> Variant:
    """Write the variant beside the fp32 graph and measure it.

    Raises:
        ExportError: a weight does not fit fp16, or the variant loses too much and loss is not allowed.
    """
    target, precision = GPU_VARIANTS[name]
    tokenizer = load_tokenizer(job.gate.checkpoint.tokenizer_json(), job.manifest.max_length)
    token_ids = tokenize(tokenizer, job.gate.texts).input_ids
    job.progress(f"calibrate {target} {precision}")
    if precision == "int8":
        variant, verdict = _int8(job, observe(job.fp32, token_ids), token_ids)
    else:
        variant, verdict = _write(job, target, precision, ir.load(job.fp32), token_ids, {})
    enforce(job.gate, f"{target} {precision}", verdict)
    return replace(variant, fidelity=verdict.report)


def _int8(job: Job, observed: dict[str, Observed], token_ids: Sequence[Sequence[int]]) -> tuple[Variant, Verdict]:
    candidates: list[str] = []
    for count in ATTEMPTS:
        graph = ir.load(job.fp32)
        keep = candidates[:count]
        choices = qdq.insert_qdq(graph, observed, keep)
        RemoveUnusedNodesPass()(graph)
        if not candidates:
            layers = [site.name for site in find_sites(ir.load(job.fp32)) if not site.is_decoder]
            candidates = order_of_return(layers, {choice.site: choice.error for choice in choices})
        variant, verdict = _write(job, "tensorrt", "int8", graph, token_ids, qdq.settings(choices, keep))
        if verdict.reaches_goal:
            break
    return variant, verdict


def _write(
    job: Job, target: str, precision: str, graph: ir.Model, token_ids: Sequence[Sequence[int]], how: dict[str, Any]
) -> tuple[Variant, Verdict]:
    rewrites = lower_for_cuda(graph) if target == "cuda" else plain.lower_to_plain(graph)
    RemoveUnusedNodesPass()(graph)
    largest = largest_values(graph, job.fp32.parent, token_ids)
    # TensorRT fuses the casts around its norms away; in CUDA each is a kernel, so there norms follow the residual,
    # and have fp32 sums inside whatever their type.
    wide = {name for name, value in largest.items() if not value * HEADROOM <= LARGEST}
    short = BRAIN if precision == "bf16" else HALF
    to_half(graph, wide=wide, wide_operators=NORMS if target == "tensorrt" else (), short=short)
    RemoveUnusedNodesPass()(graph)
    name = f"{target}-{precision}"
    job.progress(f"write {name}")
    files = tuple(describe_file(path) for path in write_graph(graph, job.fp32.with_name(f"{name}.onnx")))
    settings = {
        "nodes": sum(1 for _ in graph.graph.all_nodes()),
        "rewrites": rewrites,
        "fp32_nodes": dict(Counter(node.op_type for node in graph.graph if _makes_fp32(node))),
        "too_large_for_fp16": sorted(wide),
        "measured_on": MEASURED_ON,
        **how,
    }
    variant = Variant(name, target, precision, graph.opset_imports[""], files, settings=settings)
    job.progress(f"check {name} against PyTorch")
    return variant, _measure(job, variant)


def _makes_fp32(node: ir.Node) -> bool:
    return node.op_type != "Cast" and any(value.dtype == ir.DataType.FLOAT for value in node.outputs)


def _measure(job: Job, variant: Variant) -> Verdict:
    """What the variant keeps with its fp16 emulated on the CPU; QDQ pairs are computed as they are written."""
    with tempfile.TemporaryDirectory(dir=job.fp32.parent) as folder:
        model = ir.load(job.fp32.with_name(variant.files[0].name))
        emulate_half(model)
        path, _ = write_graph(model, Path(folder) / "emulated.onnx")
        config = {"session.disable_quant_qdq": "1"}
        session = start_session(path, config=config)
        engine = SessionEngine(session, job.manifest.pad_token_id)
        placement = Placement("cpu", engine.providers, variant)
        return judge(job.gate, SparseEncoder(Bundle(job.fp32.parent, job.manifest), placement, engine))
