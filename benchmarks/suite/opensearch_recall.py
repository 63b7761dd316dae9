"""How much of the exact top ten an index finds, and how fast."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from spladert import SparseVector, SparseVectors
from spladert.opensearch import Keys, document_tokens


def fill_vectors(client: Any, index: str, vectors: SparseVectors, keys: Keys, at_once: int = 2_000) -> None:
    """Documents "0", "1", ... with nothing but their vector, in one segment."""
    for start in range(0, len(vectors), at_once):
        lines = []
        for n, vector in enumerate(vectors[start : start + at_once], start):
            lines += [{"index": {"_id": str(n)}}, {"sparse": document_tokens(vector, keys)}]
        answer = client.bulk(body="\n".join(map(json.dumps, lines)) + "\n", index=index, timeout=300)
        assert not answer["errors"], answer["items"][:2]
    client.indices.refresh(index=index)
    client.indices.forcemerge(index=index, max_num_segments=1, params={"request_timeout": 600})


def exact_top(queries: SparseVectors, documents: SparseVectors, depth: int = 10) -> list[list[int]]:
    """The best documents of each query by the dot product."""
    scores = (queries.to_scipy() @ documents.to_scipy().T).toarray()
    best = np.argsort(-scores, axis=1, kind="stable")[:, :depth]
    return [[n for n in row.tolist() if scores[q, n] > 0] for q, row in enumerate(best)]


def found_top(
    client: Any,
    index: str,
    queries: SparseVectors,
    body: Callable[[SparseVector], Mapping[str, Any]],
    rounds: int = 1,
) -> tuple[list[list[int]], float]:
    """The documents that the index finds for each query, and the median milliseconds of a search in the last round."""
    for _ in range(rounds):
        found, times = [], []
        for query in queries:
            asked = {**body(query), "_source": False}
            started = time.perf_counter()
            hits = client.search(index=index, body=asked)["hits"]["hits"]
            times.append(time.perf_counter() - started)
            found.append([int(hit["_id"]) for hit in hits])
    return found, 1000 * float(np.median(times))


def overlap(found: list[list[int]], exact: list[list[int]]) -> float:
    """The share of the exact top that was found, over all queries."""
    return sum(len(set(a) & set(b)) for a, b in zip(found, exact, strict=True)) / sum(map(len, exact))
