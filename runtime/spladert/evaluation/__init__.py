"""How well a bundle's vectors retrieve, and how sensibly they expand terms. Needs the extra `evaluate`."""

from .dataset import RetrievalData, read_dataset
from .retrieval import EvaluationReport, RetrievalScores, evaluate, evaluate_vectors, require_ir_measures
from .terms import Term, TermReport, TermResult, evaluate_terms, read_terms, score_terms

__all__ = [
    "EvaluationReport",
    "RetrievalData",
    "RetrievalScores",
    "Term",
    "TermReport",
    "TermResult",
    "evaluate",
    "evaluate_terms",
    "evaluate_vectors",
    "read_dataset",
    "read_terms",
    "require_ir_measures",
    "score_terms",
]
