"""Exact sparse retrieval and its metrics, for model vectors and for BM25 alike."""

from __future__ import annotations

import ir_measures
import numpy as np
from ir_measures import RR, R, nDCG
from scipy import sparse

from data import RetrievalSet

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
