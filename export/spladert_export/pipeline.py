"""`export`: a checkpoint becomes a checked bundle, read from top to bottom."""

from __future__ import annotations

import importlib.metadata
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from spladert import ExportError, SparseEncoder, __version__
from spladert.bundle import FILE_NAME, Bundle, Manifest, Variant
from spladert.bundle.manifest import PROMPTS, QUERY_TABLE, SIDE_LENGTHS
from spladert.engine import PlacementRequest
from spladert.evaluation import RetrievalData, read_dataset, require_ir_measures
from spladert.idf import TABLE as QUERY_WEIGHTS
from spladert.tokenizer import load_tokenizer, tokenize

from .checkpoint import Checkpoint, load_checkpoint
from .errors import VariantRefusedError
from .graph.passes import optimize
from .graph.trace import trace
from .material import Material
from .package.bundle_writer import atomic_folder, describe_file
from .quality.gate import Gate, Limits, Retrieval, judge_fp32, ndcg
from .quality.verification import reference_batches
from .texts import CalibrationTexts, choose_texts, own_texts, read_texts
from .variants import FP32, Progress, find_specs, make_variant, refused_specs, remove_files

TOP_K = 256  # entries of a vector, of checkpoints that say nothing
PACKAGES = ("torch", "transformers", "onnx", "onnxscript", "onnxruntime")  # whose versions the manifest records


@dataclass(frozen=True)
class ExportReport:
    """What an export made. It stands for the bundle's path wherever a path is taken.

    Attributes:
        path: the bundle.
        variants: what it has, in the order that was asked for.
        refused: why each variant that was asked for is not there, by its name.
        positions: the most tokens of a text that the checkpoint could take; None where nothing limits it.
        calibration: which texts variants were calibrated and measured on; None where none were needed.
        warnings: what may be wrong, for the user to judge.
        seconds: how long each stage took, in order.
    """

    path: Path
    variants: tuple[Variant, ...]
    refused: dict[str, str]
    positions: int | None
    calibration: str | None
    warnings: tuple[str, ...]
    seconds: tuple[tuple[str, float], ...]

    def __fspath__(self) -> str:
        return str(self.path)


def export(
    source: str | Path,
    out: str | Path,
    *,
    variants: Sequence[str] | None = None,
    revision: str | None = None,
    max_length: int | None = None,
    query_max_length: int | None = None,
    document_max_length: int | None = None,
    top_k: int | None = None,
    normalize: bool = False,
    exclude_special_tokens: bool = False,
    calibration: str | Path | None = None,
    evaluate: str | Path | None = None,
    limits: Limits = Limits(),  # noqa: B008  # frozen
    allow_loss: bool = False,
    strict: bool = False,
    overwrite: bool = False,
    progress: Progress = lambda stage: None,
    precisions: Sequence[str] | None = None,
) -> ExportReport:
    """Turn a checkpoint into a bundle.

    Args:
        source: a hub id or a local folder, for `AutoModelForMaskedLM` and `AutoTokenizer`.
        out: the folder to make; it appears whole or not at all.
        variants: what to make, of "cpu-fp32" (the default), "cpu-int8", "cpu-int4", "cuda-fp16", "cuda-bf16",
            "tensorrt-fp16" and "tensorrt-int8"; or a precision ("int8") for its usual target.
        revision: branch, tag or commit of a hub id.
        max_length: most tokens of a text, special tokens included; longer texts are cut. None is what sentence-
            transformers' files in the checkpoint say, else 64.
        query_max_length: the same for `encode_query`; None is what the checkpoint says, else `max_length`.
        document_max_length: the same for `encode_document`.
        top_k: most entries of a vector, at most the vocabulary; None is what the checkpoint says, else 256. Where the
            checkpoint says less than is asked for, it stays at that.
        normalize: put the default model's clean-up of texts before the tokenizer's own normalizer: what it cannot read
            is dropped, or becomes what it can read. Vectors are the checkpoint's for cleaned texts.
        exclude_special_tokens: give the tokenizer's special tokens weight 0 (the card keeps them).
        calibration: a file of texts, one a line, like those to be encoded; quantized variants take their scales from it
            and are measured on it. None is lists of the languages that the checkpoint's tokenizer is made for.
        evaluate: a folder in the BEIR layout, on which variants must keep a share of the nDCG@10 of fp32.
        limits: what a variant must keep, and how hard is tried.
        allow_loss: keep a variant that loses more.
        strict: a variant that is refused is an error and nothing is written; else it is left out.
        overwrite: replace a bundle that is at `out`.
        progress: called with the name of each stage as it begins.
        precisions: the former name of `variants`.

    Raises:
        ExportError: the checkpoint is refused, `out` is taken, the fp32 graph differs from PyTorch by more than
            rounding, or all variants are refused, with `strict` any of them.
    """
    # What can be wrong with the arguments is found before the long part.
    specs = find_specs(_one_of(variants, precisions))
    if top_k is not None and (not isinstance(top_k, int) or top_k < 1):
        raise ExportError(f"top_k is {top_k!r}; give an integer of at least 1")
    others = [spec for spec in specs if spec is not FP32]
    given = read_texts(Path(calibration)) if others and calibration is not None else None
    data = None if evaluate is None else _read_retrieval(evaluate)
    stage = _Stages(progress)
    with atomic_folder(Path(out), overwrite=overwrite) as folder:
        stage("load checkpoint")
        checkpoint = load_checkpoint(
            str(source),
            revision,
            max_length,
            query_max_length=query_max_length,
            document_max_length=document_max_length,
        )
        if normalize:
            stage("fit the clean-up to the vocabulary")
            checkpoint = checkpoint.cleaning()
        manifest = _describe(folder, checkpoint, top_k, exclude_special_tokens)
        refused = refused_specs(specs, checkpoint.head.pooling, manifest.top_k)
        if refused and (strict or len(refused) == len(specs)):
            raise ExportError("; ".join(refused.values()))
        others = [spec for spec in others if spec.name not in refused]
        calibrating = _calibration_texts(checkpoint, given, str(calibration)) if others else None

        stage("trace")
        graph = trace(
            checkpoint.model,
            head=checkpoint.head,
            max_length=manifest.max_length,
            top_k=manifest.top_k,
            excluded=manifest.excluded_token_ids,
        )
        stage("optimize")
        rewrites = optimize(graph)

        # fp32 comes first, asked for or not: the others are made of it.
        tokenizer = load_tokenizer(checkpoint.tokenizer_json(), manifest.max_length)
        prompt = checkpoint.prompts.get("default", "")
        texts = calibrating.texts if calibrating else ()
        token_ids = tokenize(tokenizer, [prompt + text for text in texts]).input_ids
        material = Material(folder, manifest, graph, rewrites, token_ids)
        make = partial(make_variant, material=material, attempts=limits.attempts, allow_loss=allow_loss, progress=stage)
        made = {FP32.name: make(FP32, judge=partial(judge_fp32, checkpoint=checkpoint, limits=limits))}

        if calibrating:
            stage("encode calibration texts with PyTorch")
            reference = tuple(reference_batches(checkpoint, manifest, texts))
            retrieval = None
            if data is not None:
                stage("evaluate cpu-fp32")
                retrieval = _measure_retrieval(folder, manifest, made[FP32.name], data)
            gate = Gate(reference, calibrating.name, limits, retrieval, allow_loss)
            for spec in others:
                try:
                    variant = make(spec, judge=gate.judge)
                    used = {"calibrated_on": Path(calibrating.name).name}  # of a file its name, not its place
                    made[spec.name] = replace(variant, settings={**variant.settings, **used})
                except VariantRefusedError as reason:
                    if strict:
                        raise
                    refused[spec.name] = str(reason)

        stage("write manifest")
        kept = tuple(made[spec.name] for spec in specs if spec.name in made)
        if not kept:
            raise ExportError("; ".join(refused.values()))
        if FP32 not in specs:
            remove_files(folder, FP32.name)
        (folder / FILE_NAME).write_text(replace(manifest, variants=kept).to_json(), encoding="utf-8")
        card = Path(source) / "README.md"
        if card.is_file():  # the model card, and the license in it, go with the weights
            shutil.copyfile(card, folder / "README.md")
    return ExportReport(
        Path(out),
        kept,
        refused,
        positions=checkpoint.lengths.usable,
        calibration=calibrating.name if calibrating else None,
        warnings=(calibrating.warning,) if calibrating and calibrating.warning else (),
        seconds=stage.finish(),
    )


def _calibration_texts(checkpoint: Checkpoint, given: Sequence[str] | None, name: str) -> CalibrationTexts:
    if given is None:
        return choose_texts(checkpoint.tokenizer)
    return own_texts(given, name, checkpoint.tokenizer)


class _Stages:
    """Announces each stage and measures how long it takes."""

    def __init__(self, announce: Progress) -> None:
        self._announce = announce
        self._begun: list[tuple[str, float]] = []

    def __call__(self, stage: str) -> None:
        self._begun.append((stage, time.perf_counter()))
        self._announce(stage)

    def finish(self) -> tuple[tuple[str, float], ...]:
        """(stage, seconds) of each, the last one until now."""
        ends = [*(begun for _, begun in self._begun[1:]), time.perf_counter()]
        return tuple((stage, end - begun) for (stage, begun), end in zip(self._begun, ends, strict=True))


def _one_of(variants: Sequence[str] | None, precisions: Sequence[str] | None) -> Sequence[str]:
    if variants is not None and precisions is not None:
        raise ExportError("variants and precisions are two names of one thing; give variants")
    if variants is not None:
        return variants
    return (FP32.name,) if precisions is None else precisions


def _read_retrieval(folder: str | Path) -> RetrievalData:
    require_ir_measures()
    return read_dataset(folder)


def _measure_retrieval(folder: Path, manifest: Manifest, fp32: Variant, data: RetrievalData) -> Retrieval:
    bundle = Bundle(folder, replace(manifest, variants=(fp32,)))
    with SparseEncoder.from_bundle(bundle, PlacementRequest("cpu", fp32.name)) as encoder:
        return Retrieval(data, ndcg(encoder, data))


def _describe(folder: Path, checkpoint: Checkpoint, top_k: int | None, exclude_special_tokens: bool) -> Manifest:
    """The manifest, still without variants; the tokenizer is written."""
    (folder / "tokenizer.json").write_text(checkpoint.tokenizer_json(), encoding="utf-8")
    special = tuple(sorted({int(i) for i in checkpoint.tokenizer.all_special_ids}))
    lengths, prompts = checkpoint.lengths, dict(checkpoint.prompts)
    sides = lengths.query, lengths.document
    table = None
    if checkpoint.query_weights is not None:
        np.save(folder / QUERY_WEIGHTS, checkpoint.query_weights)
        table = describe_file(folder / QUERY_WEIGHTS)
    requires = {
        PROMPTS: any(prompts.values()),
        SIDE_LENGTHS: sides != (None, None),
        QUERY_TABLE: table is not None,
    }
    wanted = [number for number in (top_k, checkpoint.top_k) if number is not None] or [TOP_K]
    return Manifest(
        source=checkpoint.describe(),
        max_length=lengths.max_length,
        top_k=min(*wanted, checkpoint.vocabulary_size),
        vocabulary_size=checkpoint.vocabulary_size,
        pad_token_id=checkpoint.pad_token_id,
        special_token_ids=special,
        excluded_token_ids=special if exclude_special_tokens else (),
        tokenizer=describe_file(folder / "tokenizer.json"),
        variants=(),
        made_with={"spladert": __version__, **_versions(PACKAGES)},
        query_max_length=lengths.query,
        document_max_length=lengths.document,
        prompts=prompts,
        query_table=table,
        requires=tuple(name for name, needed in requires.items() if needed),
    )


def _versions(packages: Sequence[str]) -> dict[str, str]:
    found = {}
    for name in packages:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:  # onnxruntime may be there as onnxruntime-gpu
            continue
    return found
