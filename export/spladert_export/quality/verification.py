"""Comparing a bundle with the checkpoint it was made from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spladert import ExportError, SparseEncoder, SparseVector
from spladert.bundle import Manifest

from ..checkpoint import Checkpoint
from .fidelity import Fidelity, compare
from .reference import encode_reference

# Short, long, empty, several scripts: what a graph is checked on before a bundle is written, beside a text that is cut.
CHECK_TEXTS = (
    "당뇨병 치료 방법",
    "손해배상 청구 소송에서 위자료는 어떻게 산정되나요?",
    "",
    "a",
    "The quick brown fox jumps over the lazy dog, 42 times.",
    "인공지능과 데이터 🙂 — sparse retrieval, 検索, поиск",
    "계약서에 서명하기 전에 확인해야 할 약관과 계약금, 해지 조건을 알려 주세요. " * 3,
)
LONG_TEXT = "길이가 한도를 넘는 글은 잘린다. beyond the limit a text is cut. "  # 12 words, so at least as many tokens
BATCH = 32  # texts that are compared at a time: pairs of them give dot products


@dataclass(frozen=True)
class ReferenceBatch:
    """Some texts and PyTorch's weights of them.

    Attributes:
        texts: in the order of their length.
        vectors: all weights of each that are not 0.
    """

    texts: tuple[str, ...]
    vectors: tuple[SparseVector, ...]


def reference_batches(
    checkpoint: Checkpoint,
    manifest: Manifest,
    texts: Sequence[str],
    *,
    batch: int = BATCH,
) -> Iterator[ReferenceBatch]:
    """PyTorch's weights of the texts, shortest first, `batch` texts at a time.

    Raises:
        ExportError: no texts, or the checkpoint's vocabulary is not the bundle's.
    """
    if not texts:
        raise ExportError("there are no texts to verify on; give a file with at least one line")
    if checkpoint.vocabulary_size != manifest.vocabulary_size:
        raise ExportError(
            f"{checkpoint.source} has {checkpoint.vocabulary_size} vocabulary rows and the bundle "
            f"{manifest.vocabulary_size}: the bundle was made from another checkpoint"
        )
    ordered = sorted(texts, key=len)
    for start in range(0, len(ordered), batch):
        part = ordered[start : start + batch]
        prompt = checkpoint.prompts.get("default", "")
        weights = encode_reference(checkpoint, part, manifest.max_length, prompt=prompt)
        weights[:, list(manifest.excluded_token_ids)] = 0
        yield ReferenceBatch(tuple(part), tuple(map(to_sparse, weights.numpy())))


def to_sparse(weights: NDArray[np.float32]) -> SparseVector:
    """The entries of dense weights [V] that are not 0 (a NaN is not), by falling weight, then by id."""
    (ids,) = weights.nonzero()
    order = ids[np.argsort(-weights[ids], kind="stable")]
    return SparseVector(order.astype(np.int32), weights[order])


def verify(encoder: SparseEncoder, checkpoint: Checkpoint, texts: Sequence[str]) -> Fidelity:
    """Measure a loaded bundle against the checkpoint's PyTorch `encode()` on `texts`.

    Raises:
        ExportError: no texts, or the checkpoint's vocabulary is not the bundle's.
    """
    return measure(encoder, reference_batches(checkpoint, encoder.manifest, texts))


def measure(encoder: SparseEncoder, reference: Iterable[ReferenceBatch]) -> Fidelity:
    """Measure an encoder against weights that are known."""
    return compare(((encoder.encode(batch.texts), batch.vectors) for batch in reference), encoder.manifest.top_k)


def check_fp32(encoder: SparseEncoder, checkpoint: Checkpoint, limit: float) -> Fidelity:
    """Compare on `CHECK_TEXTS` and one that is cut, in one padded batch and one by one; the worse report is returned.

    Raises:
        ExportError: a weight differs by more than `limit`, or there are none to compare.
    """
    texts = (*CHECK_TEXTS, LONG_TEXT * (encoder.manifest.max_length // len(LONG_TEXT.split()) + 1))
    [reference] = reference_batches(checkpoint, encoder.manifest, texts, batch=len(texts))
    together, alone = list(encoder.encode(reference.texts)), [encoder.encode(text) for text in reference.texts]
    reports = [compare([(vectors, reference.vectors)], encoder.manifest.top_k) for vectors in (together, alone)]
    worst = max(reports, key=lambda report: report.max_weight_error)
    if not worst.max_weight_error <= limit:  # NaN fails too
        raise ExportError(
            f"the graph of {checkpoint.source} differs from PyTorch by {worst.max_weight_error:.2e} in a weight "
            f"(limit {limit:.0e}); nothing was written. This architecture "
            f"({type(checkpoint.model).__name__}) is not exported rightly: please report it"
        )
    if worst.active_dimensions == 0:
        raise ExportError(
            f"{checkpoint.source} gives every text an empty vector: it is no trained SPLADE model; nothing was written"
        )
    return worst
