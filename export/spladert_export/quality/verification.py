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
        entries: of each text the ids, int64 [n], and values, float32 [n], of the weights that are not 0.
        vocabulary_size: V.
    """

    texts: tuple[str, ...]
    entries: tuple[tuple[NDArray[np.int64], NDArray[np.float32]], ...]
    vocabulary_size: int

    def weights(self) -> NDArray[np.float32]:
        """[texts, V]."""
        dense = np.zeros((len(self.texts), self.vocabulary_size), np.float32)
        for row, (ids, values) in enumerate(self.entries):
            dense[row, ids] = values
        return dense


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
        entries = []
        for row in weights.numpy():
            (ids,) = row.nonzero()  # what is not a number stays
            entries.append((ids, row[ids]))
        yield ReferenceBatch(tuple(part), tuple(entries), manifest.vocabulary_size)


def verify(encoder: SparseEncoder, checkpoint: Checkpoint, texts: Sequence[str]) -> Fidelity:
    """Measure a loaded bundle against the checkpoint's PyTorch `encode()` on `texts`.

    Raises:
        ExportError: no texts, or the checkpoint's vocabulary is not the bundle's.
    """
    return measure(encoder, reference_batches(checkpoint, encoder.manifest, texts))


def measure(encoder: SparseEncoder, reference: Iterable[ReferenceBatch]) -> Fidelity:
    """Measure an encoder against weights that are known."""
    pairs = ((encoder.encode(batch.texts), batch.weights()) for batch in reference)
    return compare(pairs, encoder.manifest.top_k)


def check_fp32(encoder: SparseEncoder, checkpoint: Checkpoint, limit: float) -> Fidelity:
    """Compare on `CHECK_TEXTS` and one that is cut, in one padded batch and one by one; the worse report is returned.

    Raises:
        ExportError: a weight differs by more than `limit`, or there are none to compare.
    """
    texts = (*CHECK_TEXTS, LONG_TEXT * (encoder.manifest.max_length // len(LONG_TEXT.split()) + 1))
    [reference] = reference_batches(checkpoint, encoder.manifest, texts, batch=len(texts))
    together: Sequence[SparseVector] = encoder.encode(reference.texts)
    alone = [encoder.encode(text) for text in reference.texts]
    reports = [compare([(vectors, reference.weights())], encoder.manifest.top_k) for vectors in (together, alone)]
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
