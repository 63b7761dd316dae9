"""Exact sparse retrieval and its metrics, for model vectors and for BM25 alike; agreement with human similarity."""

from __future__ import annotations

import ir_measures
import numpy as np
from ir_measures import RR, R, nDCG
from scipy import sparse, stats

from training.data import RetrievalSet

METRICS = {"nDCG@10": nDCG @ 10, "R@1": R @ 1, "R@10": R @ 10, "MRR@10": RR @ 10}


def score(queries: sparse.csr_matrix, passages: sparse.csr_matrix, retrieval: RetrievalSet) -> dict[str, float]:
    """Metrics of the dot products; rows are in the order of the set's queries and passages."""
    products = (queries @ passages.T).toarray()
    passage_ids = np.array(list(retrieval.passages))
    run = {}
    for row, query in enumerate(retrieval.queries):
        best = np.argsort(-products[row], kind="stable")[:10]
        run[query] = {str(passage_ids[i]): float(products[row, i]) for i in best if products[row, i] > 0}
    measured = ir_measures.calc_aggregate(list(METRICS.values()), retrieval.relevant, run)
    return {name: round(float(measured[metric]), 4) for name, metric in METRICS.items()}


def similarity_agreement(left: sparse.csr_matrix, right: sparse.csr_matrix, human: list[float]) -> float:
    """Spearman's correlation of the rows' cosines with people's scores of the same pairs of sentences."""
    dots = np.asarray(left.multiply(right).sum(1)).ravel()
    norms = [np.sqrt(np.asarray(side.multiply(side).sum(1)).ravel()) for side in (left, right)]
    return round(float(stats.spearmanr(dots / np.maximum(norms[0] * norms[1], 1e-9), human).statistic), 4)
