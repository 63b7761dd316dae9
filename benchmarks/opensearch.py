"""What a field of OpenSearch finds and how fast, over the parameters of a sparse_vector and over prunings.

    python -m benchmarks.opensearch --url http://127.0.0.1:9200 --texts sentences.txt --count 30000
    python -m benchmarks.opensearch --url http://127.0.0.1:9200 --data FOLDER    # in BEIR's layout

The index `spladert-benchmark` of that node is made and deleted. A cell is the share of the exact top ten that is found,
and the median milliseconds of a search, over a connection that is kept open.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.suite.opensearch_recall import exact_top, fill_vectors, found_top, overlap
from spladert import SparseEncoder, SparseVector, SparseVectors
from spladert.evaluation import read_dataset
from spladert.opensearch import Ceilings, Keys, index_body, keys_of, query_body
from spladert.pruning import Pruning, prune

INDEX = "spladert-benchmark"
THRESHOLD = 1_000
SEARCHES = [(1.0, 10), (1.2, 20), (1.5, 30), (2.0, 30), (4.0, 60)]
PRUNINGS = ["max_ratio:0.05", "max_ratio:0.1", "max_ratio:0.2", "top_k:32", "alpha_mass:0.9"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:9200")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--texts", type=Path, help="a text a line; the questions are taken from its end")
    source.add_argument("--data", type=Path, help="a folder of corpus.jsonl and queries.jsonl, all of which is taken")
    parser.add_argument("--count", type=int, default=30_000, help="documents of --texts")
    parser.add_argument("--questions", type=int, default=200, help="questions of --texts")
    given = parser.parse_args()

    from opensearchpy import OpenSearch

    if given.data is None:
        lines = given.texts.read_text(encoding="utf-8").splitlines()
        texts, questions = lines[: given.count], lines[-given.questions :]
    else:
        data = read_dataset(given.data)
        texts, questions = list(data.documents), list(data.queries)
    with SparseEncoder.load() as encoder:
        documents = encoder.encode_document(texts, show_progress=True)
        queries = encoder.encode_query(questions)
        compare(OpenSearch(given.url, timeout=600), encoder, documents, queries)


def compare(client: Any, encoder: SparseEncoder, documents: SparseVectors, queries: SparseVectors) -> None:
    """Print both tables."""
    exact = exact_top(queries, documents)

    def cell(body: Callable[[SparseVector], dict[str, Any]]) -> str:
        found, ms = found_top(client, INDEX, queries, body, rounds=2)  # the first one warms up
        return f"{overlap(found, exact):.3f}, {ms:.1f} ms"

    tokens, ids = keys_of(encoder.bundle), keys_of(encoder.bundle, "ids")
    print("| rank_features | entries | neural_sparse | bool of rank_feature |\n|---|---|---|---|")
    for text in (None, *PRUNINGS):
        kept = documents if text is None else prune(documents, Pruning.parse(text))
        make(client, index_body(encoder.bundle), kept, tokens)
        cells = [cell(partial(query_body, keys=tokens, plugin=plugin)) for plugin in (True, False)]
        share = len(kept.values) / len(documents.values)
        print(f"| {text or 'whole'} | {share:.0%} | {' | '.join(cells)} |", flush=True)
    searches = " | ".join(f"top_n {top_n}, heap_factor {heap_factor}" for heap_factor, top_n in SEARCHES)
    print(f"\n| sparse_vector | made in | {searches} |\n|---|---|{'---|' * len(SEARCHES)}")
    for name, ceilings, parameters in makings(documents, queries):
        body = index_body(
            encoder.bundle,
            "sparse",
            "sparse_vector",
            ceilings=ceilings,
            parameters={"approximate_threshold": THRESHOLD, **parameters},
        )
        seconds = make(client, body, documents, ids)
        ask = partial(query_body, kind="sparse_vector", keys=ids)
        cells = [cell(partial(ask, parameters={"heap_factor": factor, "top_n": top_n})) for factor, top_n in SEARCHES]
        print(f"| {name} | {seconds:.0f} s | {' | '.join(cells)} |", flush=True)
    client.indices.delete(index=INDEX, ignore_unavailable=True)


def makings(
    documents: SparseVectors, queries: SparseVectors
) -> Iterator[tuple[str, Ceilings | None, dict[str, float]]]:
    """Ways to make a sparse_vector index: name, ceilings and parameters."""
    measured = Ceilings.measured(documents[:1_024], queries)
    theirs = max(160, len(documents) // 2_000)  # OpenSearch's own n_postings
    yield (
        f"ceilings 3 and 16, 0.4, n_postings {theirs} (OpenSearch's)",
        Ceilings(3, 16),
        {
            "n_postings": theirs,
            "summary_prune_ratio": 0.4,
        },
    )
    yield f"measured ceilings, 0.4, n_postings {theirs}", measured, {"n_postings": theirs, "summary_prune_ratio": 0.4}
    yield "measured ceilings, 0.4, n_postings 4,000", measured, {"summary_prune_ratio": 0.4}
    yield "measured ceilings, 0.7, n_postings 4,000 (index_body's)", measured, {}


def make(client: Any, body: dict[str, Any], documents: SparseVectors, keys: Keys) -> float:
    """Make the index and fill it; returns the seconds it took."""
    client.indices.delete(index=INDEX, ignore_unavailable=True)
    client.indices.create(index=INDEX, body=body)
    started = time.perf_counter()
    fill_vectors(client, INDEX, documents, keys)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
