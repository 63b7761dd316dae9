"""`export`: checkpoint -> checked bundle. `verify`: bundle against checkpoint."""

from __future__ import annotations

import importlib.metadata
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spladert import ExportError, SparseEncoder, SparseVector, __version__
from spladert.manifest import FILE_NAME, BundleFile, Manifest, Variant

from .checkpoint import Checkpoint, load_checkpoint
from .fidelity import Fidelity, compare
from .onnx_writer import write_graph
from .passes import optimize
from .reference import encode_reference
from .trace import OPSET, trace

MOST_WEIGHT_ERROR = 1e-4  # an fp32 graph further from PyTorch than this is wrong, not rounded
STAGES = ("load checkpoint", "trace", "optimize", "write", "check against PyTorch", "finish")

# Short, long, empty, cut, several scripts: what the graph is checked on before a bundle is written.
CHECK_TEXTS = (
    "당뇨병 치료 방법",
    "손해배상 청구 소송에서 위자료는 어떻게 산정되나요?",
    "",
    "a",
    "The quick brown fox jumps over the lazy dog, 42 times.",
    "인공지능과 데이터 🙂 — sparse retrieval, 検索, поиск",
    "계약서에 서명하기 전에 확인해야 할 약관과 계약금, 해지 조건을 알려 주세요. " * 3,
    "길이가 한도를 넘는 글은 잘린다. beyond the limit a text is cut. " * 60,
)

Progress = Callable[[str], None]


@dataclass(frozen=True)
class ExportReport:
    """What an export made: the summary the command prints.

    `rewrites` counts the places each graph pass changed, `seconds` is the wall time.
    """

    path: Path
    manifest: Manifest
    nodes: int
    rewrites: dict[str, int]
    fidelity: Fidelity
    seconds: float


def export(
    source: str | Path,
    out: str | Path,
    *,
    revision: str | None = None,
    max_length: int = 64,
    top_k: int = 256,
    exclude_special_tokens: bool = False,
    overwrite: bool = False,
) -> Path:
    """Turn a checkpoint into a bundle and return its path.

    Args:
        source: a hub id or a local folder, for `AutoModelForMaskedLM` and `AutoTokenizer`.
        out: the folder to make; it appears whole or not at all.
        revision: branch, tag or commit of a hub id.
        max_length: most tokens of a text, special tokens included; longer texts are cut.
        top_k: most entries of a vector; at most the vocabulary.
        exclude_special_tokens: give the tokenizer's special tokens weight 0 (the card keeps them).
        overwrite: replace a bundle that is at `out`.

    Raises:
        ExportError: the checkpoint is refused, `out` is taken, or the graph differs from PyTorch by more than 1e-4.
    """
    return export_with_report(
        source,
        out,
        revision=revision,
        max_length=max_length,
        top_k=top_k,
        exclude_special_tokens=exclude_special_tokens,
        overwrite=overwrite,
    ).path


def export_with_report(
    source: str | Path,
    out: str | Path,
    *,
    revision: str | None = None,
    max_length: int = 64,
    top_k: int = 256,
    exclude_special_tokens: bool = False,
    overwrite: bool = False,
    progress: Progress = lambda stage: None,
) -> ExportReport:
    """`export` with its report; `progress` is called with each of `STAGES` as it begins."""
    started = time.perf_counter()
    out = Path(out)
    if max_length < 1 or top_k < 1:
        raise ExportError(f"max_length is {max_length} and top_k {top_k}; give at least 1 for each")
    _refuse_taken(out, overwrite)
    progress("load checkpoint")
    checkpoint = load_checkpoint(str(source), revision, max_length)
    top_k = min(top_k, checkpoint.vocabulary_size)
    special = tuple(sorted({int(i) for i in checkpoint.tokenizer.all_special_ids}))
    excluded = special if exclude_special_tokens else ()
    progress("trace")
    graph = trace(checkpoint.model, max_length=max_length, top_k=top_k, excluded=excluded)
    progress("optimize")
    rewrites = optimize(graph)
    nodes = sum(1 for _ in graph.graph.all_nodes())
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as folder:
        making = Path(folder) / out.name
        making.mkdir()
        progress("write")
        files = write_graph(graph, making / "cpu-fp32.onnx")
        (making / "tokenizer.json").write_text(checkpoint.tokenizer_json(), encoding="utf-8")
        pad_token_id = checkpoint.tokenizer.pad_token_id
        manifest = Manifest(
            source=checkpoint.describe(),
            max_length=max_length,
            top_k=top_k,
            vocabulary_size=checkpoint.vocabulary_size,
            pad_token_id=0 if pad_token_id is None else int(pad_token_id),
            special_token_ids=special,
            excluded_token_ids=excluded,
            tokenizer=_describe(making / "tokenizer.json"),
            variants=(_variant(files, {"rewrites": rewrites, "nodes": nodes}, {}),),
            made_with={"spladert": __version__, **_versions("torch", "transformers", "onnx", "onnxscript")},
        )
        _write_manifest(making, manifest)
        progress("check against PyTorch")
        fidelity = _check(SparseEncoder.load(making, device="cpu", precision="fp32"), checkpoint)
        progress("finish")
        variant = _variant(files, {"rewrites": rewrites, "nodes": nodes}, fidelity.to_dict())
        manifest = Manifest(**{**manifest.__dict__, "variants": (variant,)})
        _write_manifest(making, manifest)
        _move(making, out)
    return ExportReport(out, manifest, nodes, rewrites, fidelity, time.perf_counter() - started)


def verify(encoder: SparseEncoder, checkpoint: Checkpoint, texts: Sequence[str], *, chunk: int = 32) -> Fidelity:
    """Measure a loaded bundle against the checkpoint's PyTorch `encode()` on `texts`.

    Raises:
        ExportError: no texts, or the checkpoint's vocabulary is not the bundle's.
    """
    manifest = encoder.manifest
    if not texts:
        raise ExportError("there are no texts to verify on; give a file with at least one line")
    if checkpoint.vocabulary_size != manifest.vocabulary_size:
        raise ExportError(
            f"{checkpoint.source} has {checkpoint.vocabulary_size} vocabulary rows and the bundle "
            f"{manifest.vocabulary_size}: the bundle was made from another checkpoint"
        )
    return compare(_chunks(encoder, checkpoint, sorted(texts, key=len), chunk), manifest.top_k)


def _chunks(
    encoder: SparseEncoder, checkpoint: Checkpoint, texts: Sequence[str], chunk: int
) -> Iterator[tuple[Sequence[SparseVector], NDArray[np.float32]]]:
    manifest = encoder.manifest
    for start in range(0, len(texts), chunk):
        part = texts[start : start + chunk]
        reference = encode_reference(checkpoint, part, manifest.max_length)
        reference[:, list(manifest.excluded_token_ids)] = 0
        yield encoder.encode(part), reference.numpy()


def _check(encoder: SparseEncoder, checkpoint: Checkpoint) -> Fidelity:
    """Compare on the check texts in one padded batch and one by one; too large a difference is an error."""
    together = verify(encoder, checkpoint, CHECK_TEXTS, chunk=len(CHECK_TEXTS))
    alone = verify(encoder, checkpoint, CHECK_TEXTS, chunk=1)
    worst = max(together.max_weight_error, alone.max_weight_error)
    if not worst <= MOST_WEIGHT_ERROR:  # NaN fails too
        raise ExportError(
            f"the graph of {checkpoint.source} differs from PyTorch by {worst:.2e} in a weight "
            f"(limit {MOST_WEIGHT_ERROR:.0e}); nothing was written. This architecture "
            f"({type(checkpoint.model).__name__}) is not exported rightly: please report it"
        )
    return together if together.max_weight_error >= alone.max_weight_error else alone


def _variant(files: Sequence[Path], settings: dict[str, object], fidelity: dict[str, object]) -> Variant:
    described = tuple(_describe(path) for path in files)
    return Variant("cpu-fp32", "cpu", "fp32", OPSET, described, settings, fidelity)


def _describe(path: Path) -> BundleFile:
    with path.open("rb") as stream:
        return BundleFile(path.name, path.stat().st_size, file_digest(stream, "sha256").hexdigest())


def _write_manifest(folder: Path, manifest: Manifest) -> None:
    (folder / FILE_NAME).write_text(manifest.to_json(), encoding="utf-8")


def _versions(*names: str) -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in names}


def _refuse_taken(out: Path, overwrite: bool) -> None:
    if not out.exists():
        return
    if out.is_dir() and not any(out.iterdir()):
        return
    if not overwrite:
        raise ExportError(f"{out} exists; choose another folder, or replace the bundle there with --overwrite")
    if not (out / FILE_NAME).is_file():
        raise ExportError(f"{out} is not a bundle, so it is not overwritten; choose another folder")


def _move(making: Path, out: Path) -> None:
    """Put the finished folder in place; the old one leaves only when the new one is there."""
    if out.exists():
        old = making.parent / f"{out.name}.old"
        out.rename(old)
        try:
            making.rename(out)
        except OSError:
            old.rename(out)
            raise
        shutil.rmtree(old, ignore_errors=True)
    else:
        making.rename(out)
