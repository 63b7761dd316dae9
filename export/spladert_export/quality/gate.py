"""What a quantized variant must keep to be written, and measuring whether it does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spladert import ExportError, SparseEncoder
from spladert.evaluation import RetrievalData, evaluate_vectors

from ..checkpoint import Checkpoint
from .fidelity import Fidelity
from .verification import verify

LEAST_OVERLAP = 0.97  # of the 10 heaviest entries, between a variant and PyTorch; less is refused
LEAST_NDCG = 0.995  # of the fp32 variant's nDCG@10, where a retrieval set is given; less is refused
# Of dot products, by precision; for less, more layers are given back to a wider type.
GOAL_DRIFT = {"int8": 0.01, "int4": 0.03}
ATTEMPTS = (0, 1, 2, 4, 8)  # layers given back until a variant reaches the goal


@dataclass(frozen=True)
class Retrieval:
    """A judged retrieval set and the nDCG@10 of the fp32 variant on it."""

    data: RetrievalData
    fp32_ndcg: float


@dataclass(frozen=True)
class Gate:
    """The measure of every quantized variant.

    Attributes:
        checkpoint: the reference.
        texts: what the overlap is measured on, the calibration texts.
        texts_name: where they are from, for messages.
        retrieval: judged by nDCG@10 too where there is one.
        allow_loss: let a variant through that loses too much.
    """

    checkpoint: Checkpoint
    texts: Sequence[str]
    texts_name: str
    retrieval: Retrieval | None
    allow_loss: bool


@dataclass(frozen=True)
class Verdict:
    """`report` goes in the manifest; `loss` says what is lost too much, None if nothing is."""

    report: dict[str, Any]
    loss: str | None
    reaches_goal: bool


def ndcg(encoder: SparseEncoder, data: RetrievalData) -> float:
    """nDCG@10 of an encoder on a retrieval set."""
    queries, documents = encoder.encode_query(data.queries), encoder.encode_document(data.documents)
    return evaluate_vectors(data, queries, documents).ndcg_at_10


def judge(gate: Gate, encoder: SparseEncoder) -> Verdict:
    """Measure a variant against PyTorch on the gate's texts and, if these show no loss, on its retrieval set."""
    fidelity = verify(encoder, gate.checkpoint, gate.texts)
    report = fidelity.to_dict()
    loss = _lost_overlap(fidelity, gate.texts_name)
    if gate.retrieval is not None and (loss is None or gate.allow_loss):
        found, whole = ndcg(encoder, gate.retrieval.data), gate.retrieval.fp32_ndcg
        report |= {"ndcg_at_10": found, "fp32_ndcg_at_10": whole, "ndcg_kept": found / whole if whole else 1.0}
        loss = _lost_ndcg(report)
    goal = GOAL_DRIFT.get(encoder.variant.precision, 0.0)
    return Verdict(report, loss, loss is None and fidelity.dot_product_drift <= goal)


def enforce(gate: Gate, variant: str, verdict: Verdict) -> None:
    """Raise an ExportError where a variant loses too much and loss is not allowed."""
    if verdict.loss is not None and not gate.allow_loss:
        raise ExportError(
            f"the {variant} variant {verdict.loss}; calibrate on texts like yours with --calibration, leave this "
            "precision out, or accept it with --allow-loss"
        )


def order_of_return(sites: Sequence[str], errors: Mapping[str, float]) -> list[str]:
    """Layers, by the name of their activation in graph order without the decoder, as they are given back.

    The head's dense layer comes first: nothing after it averages its error out, and it is less than 1% of the work.
    The others follow by their own error, largest first. The decoder is not one of them: its winners are rescored.
    """
    return [sites[-1], *sorted(sites[:-1], key=lambda name: -errors[name])]


def _lost_overlap(fidelity: Fidelity, texts: str) -> str | None:
    if fidelity.top10_overlap >= LEAST_OVERLAP:
        return None
    return (
        f"keeps {fidelity.top10_overlap:.2%} of the 10 heaviest entries on the texts of {texts} "
        f"(limit {LEAST_OVERLAP:.0%})"
    )


def _lost_ndcg(report: Mapping[str, float]) -> str | None:
    if report["ndcg_kept"] >= LEAST_NDCG:
        return None
    return (
        f"has nDCG@10 {report['ndcg_at_10']:.4f}, which is {report['ndcg_kept']:.2%} of fp32's "
        f"{report['fp32_ndcg_at_10']:.4f} (limit {LEAST_NDCG:.1%})"
    )
