"""Comparing a bundle with the checkpoint it was made from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from spladert import ExportError, SparseEncoder, SparseVector

from ..checkpoint import Checkpoint
from .fidelity import Fidelity, compare
from .reference import encode_reference

MOST_WEIGHT_ERROR = 1e-4  # an fp32 graph further from PyTorch than this is wrong, not rounded

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


def verify(encoder: SparseEncoder, checkpoint: Checkpoint, texts: Sequence[str], *, chunk: int = 32) -> Fidelity:
    """Measure a loaded bundle against the checkpoint's PyTorch `encode()` on `texts`, `chunk` texts at a time.

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
        reference = encode_reference(
            checkpoint, part, manifest.max_length, prompt=checkpoint.prompts.get("default", "")
        )
        reference[:, list(manifest.excluded_token_ids)] = 0
        yield encoder.encode(part), reference.numpy()


def check_fp32(encoder: SparseEncoder, checkpoint: Checkpoint) -> Fidelity:
    """Compare on `CHECK_TEXTS` and one that is cut, in one padded batch and one by one; the worse report is returned.

    Raises:
        ExportError: a weight differs by more than `MOST_WEIGHT_ERROR`, or there are none to compare.
    """
    texts = (*CHECK_TEXTS, LONG_TEXT * (encoder.manifest.max_length // len(LONG_TEXT.split()) + 1))
    together = verify(encoder, checkpoint, texts, chunk=len(texts))
    alone = verify(encoder, checkpoint, texts, chunk=1)
    worst = max(together, alone, key=lambda report: report.max_weight_error)
    if not worst.max_weight_error <= MOST_WEIGHT_ERROR:  # NaN fails too
        raise ExportError(
            f"the graph of {checkpoint.source} differs from PyTorch by {worst.max_weight_error:.2e} in a weight "
            f"(limit {MOST_WEIGHT_ERROR:.0e}); nothing was written. This architecture "
            f"({type(checkpoint.model).__name__}) is not exported rightly: please report it"
        )
    if worst.active_dimensions == 0:
        raise ExportError(
            f"{checkpoint.source} gives every text an empty vector: it is no trained SPLADE model; nothing was written"
        )
    return worst
