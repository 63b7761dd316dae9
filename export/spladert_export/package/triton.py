"""A model repository for the Triton inference server: a bundle's graph, and a config.pbtxt read off that graph."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import onnx

from spladert import BundleError, InputError
from spladert.bundle import Bundle, Variant

# TensorProto's types, as Triton's config names them.
TYPES: dict[int, str] = {
    onnx.TensorProto.INT64: "TYPE_INT64",
    onnx.TensorProto.INT32: "TYPE_INT32",
    onnx.TensorProto.FLOAT: "TYPE_FP32",
}
INPUTS, OUTPUTS = ("input_ids", "attention_mask"), ("indices", "values")
VERSION = "1"


def package_triton(
    bundle: Bundle, folder: Path, *, variant: str | None = None, name: str = "spladert", batch_size: int = 32
) -> list[str]:
    """Write `folder`/NAME/config.pbtxt, /1/ with the graph and its data, and the tokenizer, which clients need.

    Args:
        bundle: an opened bundle.
        folder: the model repository; other models of it stay.
        variant: of the bundle, by its name; None is the first.
        name: of the model.
        batch_size: the most texts of a batch.

    Returns:
        The files that were written.

    Raises:
        BundleError: the bundle is damaged, or its graph is not one of token ids to k entries.
        InputError: there is no such variant, or the repository has such a model already.
    """
    chosen = _variant(bundle, variant)
    model = folder / name
    if model.exists():
        raise InputError(f"{model} exists; name another folder, or another model with --name")
    graph = bundle.graph(chosen)
    tokenizer = bundle.tokenizer_json()
    config = config_pbtxt(graph, name, batch_size, gpu=chosen.target != "cpu")
    (model / VERSION).mkdir(parents=True)
    (model / "config.pbtxt").write_text(config, encoding="utf-8")
    (model / "tokenizer.json").write_text(tokenizer, encoding="utf-8")
    for file in chosen.files:
        shutil.copyfile(bundle.path / file.name, model / VERSION / file.name)
    return [str(path) for path in sorted(model.rglob("*")) if path.is_file()]


def config_pbtxt(graph: Path, name: str, batch_size: int, *, gpu: bool) -> str:
    """Triton's description of a graph, in protobuf's text form.

    Requests are batched where their texts have the same number of tokens; a client that pads to few lengths gets
    larger batches.

    Raises:
        BundleError: the graph has other inputs or outputs, or a fixed batch.
    """
    loaded = onnx.load(graph, load_external_data=False).graph
    sections = [
        f"name: {json.dumps(name)}",
        'backend: "onnxruntime"',
        f"default_model_filename: {json.dumps(graph.name)}",
        f"max_batch_size: {batch_size}",
        *(_tensor("input", one, graph) for one in _ordered(loaded.input, INPUTS, graph)),
        *(_tensor("output", one, graph) for one in _ordered(loaded.output, OUTPUTS, graph)),
        f"instance_group [{{ count: 1, kind: {'KIND_GPU' if gpu else 'KIND_CPU'} }}]",
        "dynamic_batching { }",
    ]
    return "\n".join(sections) + "\n"


def _variant(bundle: Bundle, name: str | None) -> Variant:
    variants = bundle.manifest.variants
    for variant in variants:
        if name in (None, variant.name):
            return variant
    raise InputError(f"the bundle has no variant {name!r}; it has {', '.join(one.name for one in variants)}")


def _ordered(found: Sequence[onnx.ValueInfoProto], names: tuple[str, ...], graph: Path) -> list[onnx.ValueInfoProto]:
    by_name = {one.name: one for one in found}
    if set(by_name) != set(names):
        raise BundleError(f"{graph} has {', '.join(by_name)} instead of {', '.join(names)}; export the bundle again")
    return [by_name[name] for name in names]


def _tensor(kind: str, tensor: onnx.ValueInfoProto, graph: Path) -> str:
    """Without the first dimension, which is Triton's batch."""
    batch, *rest = (dim.dim_value or -1 for dim in tensor.type.tensor_type.shape.dim)
    elements = TYPES.get(tensor.type.tensor_type.elem_type)
    if batch != -1 or elements is None or len(rest) != 1:
        raise BundleError(f"{graph}: {tensor.name} is not a matrix of numbers of any batch; export the bundle again")
    return f'{kind} [{{ name: "{tensor.name}", data_type: {elements}, dims: [{rest[0]}] }}]'
