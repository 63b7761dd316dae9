"""`export`: a checkpoint becomes a checked bundle."""

from __future__ import annotations

import importlib.metadata
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from spladert import ExportError, SparseEncoder, __version__
from spladert.bundle import Bundle
from spladert.manifest import FILE_NAME, Manifest, Variant
from spladert.tokenizer import load_tokenizer, tokenize

from .bundle_writer import atomic_folder, describe_file
from .checkpoint import Checkpoint, load_checkpoint
from .fidelity import Fidelity
from .onnx_writer import write_graph
from .passes import optimize
from .quantize import Choice, find_sites, observe, quantize_int8, settings
from .trace import OPSET, trace
from .verification import check_fp32, verify

PRECISIONS = ("fp32", "int8")
LEAST_OVERLAP = 0.97  # of the 10 heaviest entries, between a quantized variant and PyTorch; less is refused
GOAL_DRIFT = 0.01  # of dot products; for less, more layers are given back to fp32
CALIBRATION = Path(__file__).parent / "calibration_ko.txt"
# Layers (by the activation they read) given back to fp32 until a variant reaches the goal.
ATTEMPTS = (0, 1, 2, 4, 8)

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Options:
    """What an export is asked for; see `export`."""

    max_length: int
    top_k: int
    exclude_special_tokens: bool
    precisions: tuple[str, ...]
    calibration: Path
    allow_loss: bool


def export(
    source: str | Path,
    out: str | Path,
    *,
    revision: str | None = None,
    max_length: int = 64,
    top_k: int = 256,
    exclude_special_tokens: bool = False,
    precisions: Sequence[str] = ("fp32",),
    calibration: str | Path = CALIBRATION,
    allow_loss: bool = False,
    overwrite: bool = False,
    progress: Progress = lambda stage: None,
) -> Path:
    """Turn a checkpoint into a bundle and return its path.

    Args:
        source: a hub id or a local folder, for `AutoModelForMaskedLM` and `AutoTokenizer`.
        out: the folder to make; it appears whole or not at all.
        revision: branch, tag or commit of a hub id.
        max_length: most tokens of a text, special tokens included; longer texts are cut.
        top_k: most entries of a vector; at most the vocabulary.
        exclude_special_tokens: give the tokenizer's special tokens weight 0 (the card keeps them).
        precisions: the variants to make, of "fp32" and "int8".
        calibration: a file of texts, one a line, like those to be encoded; quantized variants take their scales from it
            and are measured on it.
        allow_loss: write a quantized variant whose top-10 overlap with PyTorch is below 97% all the same.
        overwrite: replace a bundle that is at `out`.
        progress: called with the name of each stage as it begins.

    Raises:
        ExportError: the checkpoint is refused, `out` is taken, the fp32 graph differs from PyTorch by over 1e-4, or
            a quantized variant loses too much.
    """
    out = Path(out)
    unknown = [name for name in precisions if name not in PRECISIONS]
    if unknown or not precisions:
        raise ExportError(f"precision {unknown[0] if unknown else None!r} is not known; use {' or '.join(PRECISIONS)}")
    if not (isinstance(max_length, int) and isinstance(top_k, int) and max_length > 0 and top_k > 0):
        raise ExportError(f"max_length is {max_length!r} and top_k {top_k!r}; give integers of at least 1")
    with atomic_folder(out, overwrite=overwrite) as folder:
        progress("load checkpoint")
        checkpoint = load_checkpoint(str(source), revision, max_length)
        options = Options(
            max_length=max_length,
            top_k=min(top_k, checkpoint.vocabulary_size),
            exclude_special_tokens=exclude_special_tokens,
            precisions=tuple(dict.fromkeys(precisions)),
            calibration=Path(calibration),
            allow_loss=allow_loss,
        )
        _fill(folder, checkpoint, options, progress)
        card = Path(source) / "README.md"
        if card.is_file():  # the model card, and the license in it, go with the weights
            shutil.copyfile(card, folder / "README.md")
    return out


def _fill(folder: Path, checkpoint: Checkpoint, options: Options, progress: Progress) -> None:
    (folder / "tokenizer.json").write_text(checkpoint.tokenizer_json(), encoding="utf-8")
    manifest = _manifest(folder, checkpoint, options)
    fp32 = _make_fp32(folder, checkpoint, manifest, progress)
    variants = [fp32] if "fp32" in options.precisions else []
    if "int8" in options.precisions:
        variants.append(_make_int8(folder, checkpoint, manifest, options, progress))
    if "fp32" not in options.precisions:
        for file in fp32.files:
            (folder / file.name).unlink()
    manifest = replace(manifest, variants=tuple(variants))
    (folder / FILE_NAME).write_text(manifest.to_json(), encoding="utf-8")


def _manifest(folder: Path, checkpoint: Checkpoint, options: Options) -> Manifest:
    """The manifest, still without variants."""
    special = tuple(sorted({int(i) for i in checkpoint.tokenizer.all_special_ids}))
    pad_token_id = checkpoint.tokenizer.pad_token_id
    packages = ("torch", "transformers", "onnx", "onnxscript", "onnxruntime")
    return Manifest(
        source=checkpoint.describe(),
        max_length=options.max_length,
        top_k=options.top_k,
        vocabulary_size=checkpoint.vocabulary_size,
        pad_token_id=0 if pad_token_id is None else int(pad_token_id),
        special_token_ids=special,
        excluded_token_ids=special if options.exclude_special_tokens else (),
        tokenizer=describe_file(folder / "tokenizer.json"),
        variants=(),
        made_with={"spladert": __version__, **_versions(packages)},
    )


def _versions(packages: Sequence[str]) -> dict[str, str]:
    found = {}
    for name in packages:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:  # onnxruntime may be there as onnxruntime-gpu
            continue
    return found


def _make_fp32(folder: Path, checkpoint: Checkpoint, manifest: Manifest, progress: Progress) -> Variant:
    progress("trace")
    graph = trace(
        checkpoint.model,
        max_length=manifest.max_length,
        top_k=manifest.top_k,
        excluded=manifest.excluded_token_ids,
    )
    progress("optimize")
    rewrites = optimize(graph)
    progress("write fp32")
    variant = _write(folder, graph, "fp32", {"rewrites": rewrites})
    progress("check fp32 against PyTorch")
    return replace(variant, fidelity=check_fp32(_load(folder, manifest, variant), checkpoint).to_dict())


def _make_int8(
    folder: Path, checkpoint: Checkpoint, manifest: Manifest, options: Options, progress: Progress
) -> Variant:
    progress("calibrate int8")
    texts = _read_calibration(options.calibration)
    tokenizer = load_tokenizer(checkpoint.tokenizer_json(), manifest.max_length)
    fp32 = folder / "cpu-fp32.onnx"
    observed = observe(fp32, tokenize(tokenizer, texts))
    candidates = _fp32_candidates(fp32, quantize_int8(ir.load(fp32), observed))
    for count in ATTEMPTS:
        keep = candidates[:count]
        progress("quantize int8" if not keep else f"quantize int8, {len(keep)} layers kept in fp32")
        graph = ir.load(fp32)
        choices = quantize_int8(graph, observed, keep)
        RemoveUnusedNodesPass()(graph)
        variant = _write(folder, graph, "int8", settings(choices, keep))
        progress("check int8 against PyTorch")
        fidelity = verify(_load(folder, manifest, variant), checkpoint, texts)
        if fidelity.top10_overlap >= LEAST_OVERLAP and fidelity.dot_product_drift <= GOAL_DRIFT:
            break
    if fidelity.top10_overlap < LEAST_OVERLAP and not options.allow_loss:
        raise ExportError(_too_much_loss(fidelity, options.calibration))
    return replace(variant, fidelity=fidelity.to_dict())


def _fp32_candidates(graph: Path, choices: Sequence[Choice]) -> list[str]:
    """Layers in the order in which to give them back to fp32.

    The head's dense layer comes first: nothing after it averages its error out, and it is less than 1% of the work.
    The others follow by their own error, largest first. The decoder is not one of them: its winners are rescored.
    """
    layers = [site for site in find_sites(ir.load(graph)) if not site.is_decoder]
    error = {choice.site: choice.error for choice in choices}
    return [layers[-1].name, *sorted((site.name for site in layers[:-1]), key=lambda name: -error[name])]


def _too_much_loss(fidelity: Fidelity, calibration: Path) -> str:
    return (
        f"the int8 variant keeps {fidelity.top10_overlap:.2%} of the 10 heaviest entries on {calibration} "
        f"(limit {LEAST_OVERLAP:.0%}); calibrate on texts like yours with --calibration, or accept it with --allow-loss"
    )


def _read_calibration(path: Path) -> list[str]:
    try:
        texts = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise ExportError(f"calibration texts {path} cannot be read ({error}); give a UTF-8 file") from None
    if not texts:
        raise ExportError(f"calibration texts {path}: the file is empty; give one text a line, a hundred or so")
    return texts


def _write(folder: Path, graph: ir.Model, precision: str, how: dict[str, Any]) -> Variant:
    name = f"cpu-{precision}"
    files = tuple(describe_file(path) for path in write_graph(graph, folder / f"{name}.onnx"))
    nodes = sum(1 for _ in graph.graph.all_nodes())
    return Variant(name, "cpu", precision, OPSET, files, settings={"nodes": nodes, **how})


def _load(folder: Path, manifest: Manifest, variant: Variant) -> SparseEncoder:
    bundle = Bundle(folder, replace(manifest, variants=(variant,)))
    return SparseEncoder.from_bundle(bundle, device="cpu", precision=variant.precision)
