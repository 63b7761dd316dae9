"""What a field of OpenSearch finds and how fast, over the parameters of a sparse_vector and over prunings.

    python -m benchmarks.opensearch --url http://127.0.0.1:9200 --texts sentences.txt --count 30000

The index `spladert-benchmark` of that node is made and deleted. Recall is the share of the exact top ten.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.suite.opensearch_recall import exact_top, fill_vectors, found_top, overlap
from spladert import SparseEncoder, SparseVectors
from spladert.opensearch import Ceilings, Keys, index_body, keys_of, query_body
from spladert.pruning import Pruning, prune

INDEX = "spladert-benchmark"
THRESHOLD = 1_000
SEARCHES = [(1.0, 10), (1.2, 20), (1.5, 30), (2.0, 30), (4.0, 60)]
PRUNINGS = ["max_ratio:0.05", "max_ratio:0.1", "max_ratio:0.2", "top_k:32", "alpha_mass:0.9"]


@dataclass(frozen=True)
class Making:
    """How a sparse_vector index is made."""

    name: str
    ceilings: Ceilings | None
    parameters: dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:9200")
    parser.add_argument("--texts", type=Path, required=True, help="a text a line; the questions are taken from its end")
    parser.add_argument("--count", type=int, default=30_000)
    parser.add_argument("--questions", type=int, default=200)
    given = parser.parse_args()

    from opensearchpy import OpenSearch

    lines = given.texts.read_text(encoding="utf-8").splitlines()
    with SparseEncoder.load() as encoder:
        documents = encoder.encode_document(lines[: given.count], show_progress=True)
        queries = encoder.encode_query(lines[-given.questions :])
        client = OpenSearch(given.url, timeout=600)
        print("| field | search | recall@10 | ms |\n|---|---|---|---|")
        for row in rows(client, encoder, documents, queries):
            print("| " + " | ".join(row) + " |", flush=True)
    client.indices.delete(index=INDEX, ignore_unavailable=True)


def rows(
    client: Any, encoder: SparseEncoder, documents: SparseVectors, queries: SparseVectors
) -> Iterator[tuple[str, str, str, str]]:
    exact = exact_top(queries, documents)
    tokens, ids = keys_of(encoder.bundle), keys_of(encoder.bundle, "ids")
    make(client, index_body(encoder.bundle), documents, tokens)
    for name, plugin in (("neural_sparse", True), ("bool of rank_feature", False)):
        found, ms = found_top(client, INDEX, queries, partial(query_body, keys=tokens, plugin=plugin))
        yield "rank_features", name, f"{overlap(found, exact):.4f}", f"{ms:.1f}"
    for text in PRUNINGS:
        kept = prune(documents, Pruning.parse(text))
        make(client, index_body(encoder.bundle), kept, tokens)
        found, ms = found_top(client, INDEX, queries, lambda v: query_body(v, keys=tokens))
        share = len(kept.values) / len(documents.values)
        yield (
            f"rank_features, {text}, {share:.0%} of the entries",
            "neural_sparse",
            f"{overlap(found, exact):.4f}",
            (f"{ms:.1f}"),
        )
    measured = Ceilings.measured(documents[:1_024], queries)
    defaults = {"n_postings": max(160, len(documents) // 2_000), "summary_prune_ratio": 0.4}
    for making in (
        Making("OpenSearch's own parameters, ceilings 3 and 16", Ceilings(3, 16), defaults),
        Making("its own parameters, measured ceilings", measured, defaults),
        Making("n_postings 4000", measured, {"summary_prune_ratio": 0.4}),
        Making("as index_body chooses (n_postings 4000, summary_prune_ratio 0.7)", measured, {}),
    ):
        parameters = {"approximate_threshold": THRESHOLD, **making.parameters}
        body = index_body(encoder.bundle, "sparse", "sparse_vector", ceilings=making.ceilings, parameters=parameters)
        seconds = make(client, body, documents, ids)
        for heap_factor, top_n in SEARCHES:
            method = {"heap_factor": heap_factor, "top_n": top_n}
            found, ms = found_top(
                client,
                INDEX,
                queries,
                partial(query_body, field="sparse", kind="sparse_vector", keys=ids, parameters=method),
            )
            name = f"sparse_vector, {making.name}, made in {seconds:.0f} s"
            yield name, f"heap_factor {heap_factor}, top_n {top_n}", f"{overlap(found, exact):.4f}", f"{ms:.1f}"


def make(client: Any, body: dict[str, Any], documents: SparseVectors, keys: Keys) -> float:
    """Make the index and fill it; returns the seconds it took."""
    client.indices.delete(index=INDEX, ignore_unavailable=True)
    client.indices.create(index=INDEX, body=body)
    started = time.perf_counter()
    fill_vectors(client, INDEX, documents, keys)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
