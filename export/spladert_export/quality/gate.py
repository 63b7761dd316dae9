"""What a variant must keep to be written, and measuring whether it does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spladert import SparseEncoder
from spladert.evaluation import RetrievalData, evaluate_vectors

from ..checkpoint import Checkpoint
from .fidelity import Fidelity
from .verification import ReferenceBatch, check_fp32, measure


@dataclass(frozen=True)
class Limits:
    """What is too much loss, and how hard an export tries to lose less.

    Attributes:
        weight_error: of fp32's weights, the largest difference from PyTorch's; more is wrong, not rounded.
        top10_overlap: of the 10 heaviest entries, the share that a variant must have in common with PyTorch.
        ndcg_kept: of the fp32 variant's nDCG@10, where a retrieval set is given, the share that a variant must keep.
        attempts: numbers of layers that are left precise for a variant to reach its goal, the fewest first.
    """

    weight_error: float = 1e-4
    top10_overlap: float = 0.97
    ndcg_kept: float = 0.995
    attempts: tuple[int, ...] = (0, 1, 2, 4, 8)


@dataclass(frozen=True)
class Retrieval:
    """A judged retrieval set and the nDCG@10 of the fp32 variant on it."""

    data: RetrievalData
    fp32_ndcg: float


@dataclass(frozen=True)
class Verdict:
    """`report` goes in the manifest; `loss` says what is lost too much, None if nothing is."""

    report: dict[str, Any]
    loss: str | None


@dataclass(frozen=True)
class Gate:
    """The measure of every variant that is not fp32.

    Attributes:
        reference: PyTorch's weights of the calibration texts.
        texts_name: where these are from, for messages.
        limits: what a variant must keep.
        retrieval: judged by nDCG@10 too where there is one.
        allow_loss: let a variant through that loses too much.
    """

    reference: Sequence[ReferenceBatch]
    texts_name: str
    limits: Limits
    retrieval: Retrieval | None
    allow_loss: bool

    def judge(self, encoder: SparseEncoder) -> Verdict:
        """Measure a variant against PyTorch on the texts and, if these show no loss, on the retrieval set."""
        fidelity = measure(encoder, self.reference)
        report = fidelity.to_dict()
        loss = self._lost_overlap(fidelity)
        if self.retrieval is not None and (loss is None or self.allow_loss):
            found, whole = ndcg(encoder, self.retrieval.data), self.retrieval.fp32_ndcg
            report |= {"ndcg_at_10": found, "fp32_ndcg_at_10": whole, "ndcg_kept": found / whole if whole else 1.0}
            loss = self._lost_ndcg(report)
        return Verdict(report, loss)

    def _lost_overlap(self, fidelity: Fidelity) -> str | None:
        if fidelity.top10_overlap >= self.limits.top10_overlap:
            return None
        return (
            f"keeps {fidelity.top10_overlap:.2%} of the 10 heaviest entries on the texts of {self.texts_name} "
            f"(limit {self.limits.top10_overlap:.0%})"
        )

    def _lost_ndcg(self, report: Mapping[str, float]) -> str | None:
        if report["ndcg_kept"] >= self.limits.ndcg_kept:
            return None
        return (
            f"has nDCG@10 {report['ndcg_at_10']:.4f}, which is {report['ndcg_kept']:.2%} of fp32's "
            f"{report['fp32_ndcg_at_10']:.4f} (limit {self.limits.ndcg_kept:.1%})"
        )


def judge_fp32(encoder: SparseEncoder, checkpoint: Checkpoint, limits: Limits) -> Verdict:
    """Measure the fp32 variant, which loses nothing.

    Raises:
        ExportError: it differs from PyTorch by more than rounding.
    """
    return Verdict(check_fp32(encoder, checkpoint, limits.weight_error).to_dict(), loss=None)


def ndcg(encoder: SparseEncoder, data: RetrievalData) -> float:
    """nDCG@10 of an encoder on a retrieval set."""
    queries, documents = encoder.encode_query(data.queries), encoder.encode_document(data.documents)
    return evaluate_vectors(data, queries, documents).ndcg_at_10
