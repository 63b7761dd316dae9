"""The variants of a bundle: a row for each kind, and the one way in which all of them are made and measured.

A new variant is a row in `VARIANTS` and a function that plans its graph.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from math import inf
from pathlib import Path

from onnx_ir.passes.common import RemoveUnusedNodesPass

from spladert import ExportError, SparseEncoder
from spladert.bundle import Bundle, Variant
from spladert.engine import Placement
from spladert.engine.cpu import SessionEngine
from spladert.engine.session import start_session

from .errors import VariantRefusedError
from .graph.heads import POOLINGS, Pooling
from .graph.writer import write_graph
from .lower.emulate import emulate_half
from .lower.half import BRAIN, HALF
from .lower.plans import plan_cuda, plan_tensorrt, plan_tensorrt_int8
from .material import Draft, Material, Plan
from .package.bundle_writer import describe_file
from .quality.gate import Verdict
from .quantize.schemes import plan_int4, plan_int8

Progress = Callable[[str], None]
EMULATED = "CPUExecutionProvider, in fp32 with every fp16 and bf16 value rounded as it would be"


@dataclass(frozen=True)
class VariantSpec:
    """A kind of variant.

    Attributes:
        name: what it is called everywhere: files, manifest, command line, `export` and `load`.
        target: the device that its graph is for.
        precision: of its products.
        plan: how its graph is made.
        largest_drift: of dot products, the goal; for more, layers are left in a wider type.
        most_top_k: the most entries that the target can choose, None for any number.
        poolings: of the checkpoints that it can be made of.
    """

    name: str
    target: str
    precision: str
    plan: Callable[[Material], Plan]
    largest_drift: float = inf
    most_top_k: int | None = None
    poolings: tuple[Pooling, ...] = ("max",)  # what follows from short logits holds for their max alone

    @property
    def is_emulated(self) -> bool:
        """Whether its short types are emulated to measure it, for lack of the device."""
        return self.target != "cpu"


def _as_traced(material: Material) -> Plan:
    return Plan(lambda keep: Draft(material.fp32, {"rewrites": material.rewrites}))


TENSORRT_TOP_K = 3840  # TensorRT's TopK takes no more (NVIDIA/TensorRT#4244)
FP32 = VariantSpec("cpu-fp32", "cpu", "fp32", _as_traced, poolings=POOLINGS)
VARIANTS = (
    FP32,
    VariantSpec("cpu-int8", "cpu", "int8", plan_int8, largest_drift=0.01),
    VariantSpec("cpu-int4", "cpu", "int4", plan_int4, largest_drift=0.03),
    VariantSpec("cuda-fp16", "cuda", "fp16", partial(plan_cuda, short=HALF)),
    VariantSpec("cuda-bf16", "cuda", "bf16", partial(plan_cuda, short=BRAIN)),
    VariantSpec("tensorrt-fp16", "tensorrt", "fp16", partial(plan_tensorrt, short=HALF), most_top_k=TENSORRT_TOP_K),
    VariantSpec(
        "tensorrt-int8",
        "tensorrt",
        "int8",
        partial(plan_tensorrt_int8, short=HALF),
        largest_drift=0.01,
        most_top_k=TENSORRT_TOP_K,
    ),
)
# A precision alone means its usual target.
ALIASES = {"fp32": "cpu-fp32", "int8": "cpu-int8", "int4": "cpu-int4", "fp16": "cuda-fp16", "bf16": "cuda-bf16"}
NAMES = (*(spec.name for spec in VARIANTS), *ALIASES)


def find_specs(names: Sequence[str]) -> tuple[VariantSpec, ...]:
    """The rows of the names, or of precisions that mean one, in their order and each once.

    Raises:
        ExportError: no name, or one that is not known.
    """
    by_name = {spec.name: spec for spec in VARIANTS}
    known = ", ".join(by_name)
    if isinstance(names, str) or not names:
        raise ExportError(f"variants is {names!r}; give a list of at least one of {known}")
    for name in names:
        if ALIASES.get(name, name) not in by_name:
            raise ExportError(f"variant {name!r} is not known; use {known}")
    return tuple(dict.fromkeys(by_name[ALIASES.get(name, name)] for name in names))


def refused_specs(specs: Sequence[VariantSpec], pooling: Pooling, top_k: int) -> dict[str, str]:
    """What a target would refuse late, or get wrong: names of variants, and why they are not made.

    `top_k` is more than a target takes, or it is not made of checkpoints with this pooling.
    """
    refused = {}
    for spec in specs:
        if pooling not in spec.poolings:
            able = " or ".join(other.name for other in VARIANTS if pooling in other.poolings)
            made_for = " and ".join(spec.poolings)
            refused[spec.name] = (
                f"the checkpoint's pooling is {pooling}, and {spec.name} is made for {made_for}; take {able}"
            )
        elif spec.most_top_k is not None and top_k > spec.most_top_k:
            refused[spec.name] = (
                f"top_k is {top_k}, and {spec.name} takes at most {spec.most_top_k}; give less (--top-k)"
            )
    return refused


def make_variant(
    spec: VariantSpec,
    material: Material,
    judge: Callable[[SparseEncoder], Verdict],
    *,
    attempts: Sequence[int],
    allow_loss: bool,
    progress: Progress,
) -> Variant:
    """Write a variant to the bundle's folder, as precise as it takes to reach its goal, and measure it.

    Args:
        spec: which.
        material: what it is made of.
        judge: measures an encoder over it.
        attempts: numbers of layers to leave in a wider type, the fewest first, to reach the goal with.
        allow_loss: keep a variant that loses too much.
        progress: called with the name of each stage as it begins.

    Raises:
        VariantRefusedError: it cannot be made, or loses too much and loss is not allowed; nothing of it is left.
        ExportError: what `judge` raises.
    """
    progress(f"plan {spec.name}")
    try:
        plan = spec.plan(material)

        def attempt(count: int) -> _Attempt:
            keep = plan.fallback_order[:count]
            progress(f"make {spec.name}" + (f", {len(keep)} layers kept wider" if keep else ""))
            draft = plan.build(keep)
            RemoveUnusedNodesPass()(draft.graph)
            paths = write_graph(draft.graph, material.folder / f"{spec.name}.onnx")
            variant = _describe(spec, draft)
            progress(f"check {spec.name} against PyTorch")
            with _open(spec, variant, draft, material) as encoder:
                verdict = judge(encoder)
            reached = verdict.loss is None and verdict.report["dot_product_drift"] <= spec.largest_drift
            return _Attempt(variant, paths, verdict, reached)

        taken = _fewest(attempts if plan.fallback_order else (0,), attempt)
        if taken.verdict.loss is not None and not allow_loss:
            raise VariantRefusedError(
                f"the {spec.name} variant {taken.verdict.loss}; calibrate on texts like yours with --calibration, "
                "leave this variant out, or accept it with --allow-loss"
            )
    except VariantRefusedError:
        remove_files(material.folder, spec.name)
        raise
    return replace(taken.variant, files=tuple(map(describe_file, taken.paths)), fidelity=taken.verdict.report)


@dataclass(frozen=True)
class _Attempt:
    """A variant that is written and measured, and whether it reaches its goal."""

    variant: Variant
    paths: Sequence[Path]
    verdict: Verdict
    reaches_goal: bool


def _fewest(counts: Sequence[int], attempt: Callable[[int], _Attempt]) -> _Attempt:
    """The attempt with the fewest layers kept that reaches the goal, the one with the most where none does.

    The most are tried third: where they do not reach it, those between are not tried, for they would not either. What
    is given is the last attempt that was made, so that its files are there.
    """
    most = counts[-1]
    for count in dict.fromkeys((*counts[:2], most, *counts[2:])):
        found = attempt(count)
        if found.reaches_goal != (count == most):
            return found
    return found if count == most else attempt(most)


def remove_files(folder: Path, name: str) -> None:
    """Take a variant's files out of a bundle that is being made."""
    for file in folder.glob(f"{name}.onnx*"):
        file.unlink()


def _describe(spec: VariantSpec, draft: Draft) -> Variant:
    """The variant of a draft, still without files and fidelity."""
    settings = {"nodes": sum(1 for _ in draft.graph.graph.all_nodes()), **draft.settings}
    if spec.is_emulated:
        settings["measured_on"] = EMULATED
    opset = draft.graph.opset_imports[""]
    return Variant(spec.name, spec.target, spec.precision, opset, files=(), settings=settings)


@contextmanager
def _open(spec: VariantSpec, variant: Variant, draft: Draft, material: Material) -> Iterator[SparseEncoder]:
    """An encoder over a draft that is written: on the CPU, with its short types emulated where they are not the CPU's.

    QDQ pairs are computed as they are written.
    """
    with tempfile.TemporaryDirectory(dir=material.folder) as folder:
        if spec.is_emulated:
            emulated = draft.graph.clone()
            emulate_half(emulated)
            path, _ = write_graph(emulated, Path(folder) / "emulated.onnx")
            session = start_session(path, config={"session.disable_quant_qdq": "1"})
        else:
            session = start_session(material.folder / f"{spec.name}.onnx")
        engine = SessionEngine(session, material.manifest.pad_token_id)
        placement = Placement("cpu", engine.providers, variant)
        with SparseEncoder(Bundle(material.folder, material.manifest), placement, engine) as encoder:
            yield encoder
