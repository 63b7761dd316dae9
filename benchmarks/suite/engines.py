"""The engines by name, in the order of the table; the first is what the others are compared with."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from . import onnx_engines, openvino_engines, torch_engines
from .engine import Encode, Engine, Inputs

ONNX = ("onnxruntime", "onnx", "torch", "transformers", "tokenizers")
OPENVINO = ("openvino", "nncf", "torch", "transformers", "tokenizers")
SENTENCE_TRANSFORMERS = ("sentence-transformers", "torch", "transformers", "tokenizers")

PEERS: dict[str, Engine] = {
    "pytorch": Engine(torch_engines.card, "fp32", "in order", ("torch", "transformers", "tokenizers")),
    "sentence-transformers": Engine(torch_engines.sentence_transformers, "fp32", "own", SENTENCE_TRANSFORMERS),
    "sentence-transformers onnx-int8": Engine(
        torch_engines.sentence_transformers_int8,
        "int8",
        "own",
        (*SENTENCE_TRANSFORMERS, "optimum", "optimum-onnx", "onnxruntime"),
        torch_engines.prepare_sentence_transformers_int8,
    ),
    "optimum fp32": Engine(
        onnx_engines.optimum,
        "fp32",
        "sorted",
        ("optimum", "optimum-onnx", "onnxruntime", "transformers", "numpy"),
        onnx_engines.prepare_optimum,
    ),
    "onnxruntime fp32": Engine(onnx_engines.pooled_fp32, "fp32", "sorted", ONNX, onnx_engines.export_pooled),
    "onnxruntime dynamic-int8": Engine(
        onnx_engines.pooled_int8, "int8", "sorted", ONNX, onnx_engines.prepare_pooled_int8
    ),
    "openvino fp32": Engine(
        openvino_engines.openvino("fp32"), "fp32", "sorted", OPENVINO, openvino_engines.prepare_fp32
    ),
    "openvino bf16": Engine(
        openvino_engines.openvino("bf16"), "bf16", "sorted", OPENVINO, openvino_engines.prepare_fp32
    ),
    "openvino nncf-int8": Engine(
        openvino_engines.openvino("int8"), "int8", "sorted", OPENVINO, openvino_engines.prepare_int8
    ),
}


def spladert(variant: str, isa: str | None = None) -> Engine:
    """The engine that runs the bundle's variant of that name, such as "cpu-int8"; `isa` as for `SparseEncoder.load`."""

    def load(inputs: Inputs) -> Encode:
        from spladert import SparseEncoder

        return SparseEncoder.load(inputs.bundle, device="cpu", variant=variant, threads=inputs.threads, isa=isa).encode

    precision = variant.removeprefix("cpu-").split("-")[0]
    return Engine(load, precision, "own", ("spladert", "spladert-kernels", "onnxruntime", "tokenizers", "numpy"))


def engine(name: str) -> Engine:
    """An engine by its name in the table.

    "spladert cpu-int8" is the bundle's variant cpu-int8 as `load` runs it, "spladert cpu-int8 onnx" with what follows.
    """
    return PEERS[name] if name in PEERS else spladert(*name.removeprefix("spladert ").split(" "))


def is_engine(name: str, names: Sequence[str]) -> bool:
    """Whether there is an engine of that name, `names` being those of `engine_names`."""
    from spladert.engine.base import ISAS

    return name in names or any(name == f"{one} {isa}" for one in names if one not in PEERS for isa in ISAS)


def engine_names(bundle: Path) -> list[str]:
    """Every engine, with one of spladert's for each variant for CPU that the bundle has."""
    from spladert.bundle import open_bundle

    variants = [variant for variant in open_bundle(bundle).manifest.variants if variant.target == "cpu"]
    names = [f"spladert {variant.name}" for variant in variants]
    if find_spec("spladert_kernels") is not None:  # what it is faster than
        names += [f"spladert {variant.name} onnx" for variant in variants if variant.precision == "int8"]
    return [*PEERS, *names]
