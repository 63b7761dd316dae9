"""`export`: a checkpoint becomes a checked bundle."""

from __future__ import annotations

import importlib.metadata
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from spladert import ExportError, SparseEncoder, __version__
from spladert.bundle import FILE_NAME, Manifest
from spladert.evaluation import RetrievalData, read_dataset, require_ir_measures

from .checkpoint import Checkpoint, load_checkpoint
from .cpu_variants import Progress, load_variant, make_fp32, make_quantized
from .lower import GPU_VARIANTS, Job, make_gpu_variant, refuse_gpu
from .package.bundle_writer import atomic_folder, describe_file
from .quality.gate import Gate, Retrieval, ndcg
from .quantize import SCHEMES, Scheme

PRECISIONS = ("fp32", *SCHEMES, *GPU_VARIANTS)
CALIBRATION = Path(__file__).parent / "calibration_ko.txt"


@dataclass(frozen=True)
class Options:
    """What an export is asked for; see `export`."""

    max_length: int
    top_k: int
    exclude_special_tokens: bool
    precisions: tuple[str, ...]
    texts: tuple[str, ...]  # to calibrate and measure on; none are needed for fp32 alone
    texts_name: str
    retrieval: RetrievalData | None
    allow_loss: bool


def export(
    source: str | Path,
    out: str | Path,
    *,
    revision: str | None = None,
    max_length: int | None = None,
    top_k: int = 256,
    exclude_special_tokens: bool = False,
    precisions: Sequence[str] = ("fp32",),
    calibration: str | Path = CALIBRATION,
    evaluate: str | Path | None = None,
    allow_loss: bool = False,
    overwrite: bool = False,
    progress: Progress = lambda stage: None,
) -> Path:
    """Turn a checkpoint into a bundle and return its path.

    Args:
        source: a hub id or a local folder, for `AutoModelForMaskedLM` and `AutoTokenizer`.
        out: the folder to make; it appears whole or not at all.
        revision: branch, tag or commit of a hub id.
        max_length: most tokens of a text, special tokens included; longer texts are cut. None is what sentence-
            transformers' files in the checkpoint say, else 64.
        top_k: most entries of a vector; at most the vocabulary.
        exclude_special_tokens: give the tokenizer's special tokens weight 0 (the card keeps them).
        precisions: the variants to make, of "fp32", "int8" and "int4" (CPU), "fp16" and "bf16" (CUDA), "tensorrt-fp16"
            and "tensorrt-int8".
        calibration: a file of texts, one a line, like those to be encoded; quantized variants take their scales from it
            and are measured on it.
        evaluate: a folder in the BEIR layout, on which variants must keep 99.5% of the nDCG@10 of fp32.
        allow_loss: write a variant that keeps less than that, or whose top-10 overlap with PyTorch is below 97%.
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
    if not isinstance(top_k, int) or top_k < 1:
        raise ExportError(f"top_k is {top_k!r}; give an integer of at least 1")
    # What can be wrong with the arguments is found before the long part.
    texts = _read_calibration(Path(calibration)) if set(precisions) != {"fp32"} else ()
    if evaluate is not None:
        require_ir_measures()
    retrieval = None if evaluate is None else read_dataset(evaluate)
    with atomic_folder(out, overwrite=overwrite) as folder:
        progress("load checkpoint")
        checkpoint = load_checkpoint(str(source), revision, max_length)
        options = Options(
            max_length=checkpoint.lengths.max_length,
            top_k=min(top_k, checkpoint.vocabulary_size),
            exclude_special_tokens=exclude_special_tokens,
            precisions=tuple(dict.fromkeys(precisions)),
            texts=texts,
            texts_name="the default list" if calibration == CALIBRATION else str(calibration),
            retrieval=retrieval,
            allow_loss=allow_loss,
        )
        refuse_gpu(options.precisions, options.top_k)
        _fill(folder, checkpoint, options, progress)
        card = Path(source) / "README.md"
        if card.is_file():  # the model card, and the license in it, go with the weights
            shutil.copyfile(card, folder / "README.md")
    return out


def _fill(folder: Path, checkpoint: Checkpoint, options: Options, progress: Progress) -> None:
    (folder / "tokenizer.json").write_text(checkpoint.tokenizer_json(), encoding="utf-8")
    manifest = _manifest(folder, checkpoint, options)
    fp32 = make_fp32(folder, checkpoint, manifest, progress)
    made = {"fp32": fp32}
    others = [name for name in options.precisions if name != "fp32"]
    if others:
        gate = _gate(load_variant(folder, manifest, fp32), checkpoint, options, progress)
        graph = folder / fp32.files[0].name
        for name in others:
            if name in GPU_VARIANTS:
                made[name] = make_gpu_variant(Job(graph, manifest, gate, progress), name)
            else:
                made[name] = make_quantized(folder, graph, manifest, cast("Scheme", name), gate, progress)
    if "fp32" not in options.precisions:
        for file in fp32.files:
            (folder / file.name).unlink()
    manifest = replace(manifest, variants=tuple(made[name] for name in options.precisions))
    (folder / FILE_NAME).write_text(manifest.to_json(), encoding="utf-8")


def _gate(fp32: SparseEncoder, checkpoint: Checkpoint, options: Options, progress: Progress) -> Gate:
    retrieval = None
    if options.retrieval is not None:
        progress("evaluate fp32")
        retrieval = Retrieval(options.retrieval, ndcg(fp32, options.retrieval))
    return Gate(checkpoint, options.texts, options.texts_name, retrieval, options.allow_loss)


def _manifest(folder: Path, checkpoint: Checkpoint, options: Options) -> Manifest:
    """The manifest, still without variants."""
    special = tuple(sorted({int(i) for i in checkpoint.tokenizer.all_special_ids}))
    packages = ("torch", "transformers", "onnx", "onnxscript", "onnxruntime")
    return Manifest(
        source=checkpoint.describe(),
        max_length=options.max_length,
        top_k=options.top_k,
        vocabulary_size=checkpoint.vocabulary_size,
        pad_token_id=checkpoint.pad_token_id,
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


def _read_calibration(path: Path) -> tuple[str, ...]:
    try:
        texts = tuple(line for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise ExportError(f"calibration texts {path} cannot be read ({error}); give a UTF-8 file") from None
    if not texts:
        raise ExportError(f"calibration texts {path}: the file is empty; give one text a line, a hundred or so")
    return texts
