"""What `--passages` gains on long documents: a judged set in the BEIR layout, with and without.

    python -m benchmarks.passages tydi_retrieval [--overlaps 0,8,16]

A document's score is its best passage's. The rows with BM25 are blended with it by reciprocal rank, as `spladert search
--hybrid` does.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

from spladert import SparseEncoder
from spladert.evaluation.dataset import RetrievalData, read_dataset
from spladert.evaluation.retrieval import require_ir_measures
from spladert.index import SparseIndex
from spladert.passages import Passages
from spladert.stores import Hit

TOP = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--overlaps", default="0,8,16")
    given = parser.parse_args()
    data = read_dataset(given.data)
    ways: list[tuple[str, Passages | None]] = [("the beginning alone", None)]
    ways += [(f"passages, overlap {each}", Passages(int(each))) for each in given.overlaps.split(",")]
    print("| | vectors | nDCG@10 | R@1 | R@10 | with BM25: nDCG@10 | R@1 | R@10 |\n|---|---|---|---|---|---|---|---|")
    with SparseEncoder.load(threads=1, spin=False) as encoder:
        for name, passages in ways:
            with tempfile.TemporaryDirectory() as folder, SparseIndex.open(Path(folder), encoder) as index:
                pairs = zip(data.document_ids, data.documents, strict=True)
                index.add(({"_id": key, "text": text} for key, text in pairs), passages=passages)
                index.optimize()
                row = [name, f"{len(index):,}"]
                for hybrid in (False, True):
                    found = [index.search(question, top=TOP, hybrid=hybrid).hits for question in data.queries]
                    row += [f"{score:.3f}" for score in scores(data, found)]
            print(f"| {' | '.join(row)} |", flush=True)


def scores(data: RetrievalData, found: Sequence[Sequence[Hit]]) -> list[float]:
    """nDCG@10, recall@1 and recall@10, means over the questions."""
    ir = require_ir_measures()
    ranked = [
        ir.ScoredDoc(query_id, hit.id if hit.passage is None else hit.passage["document"], float(TOP - rank))
        for query_id, hits in zip(data.query_ids, found, strict=True)
        for rank, hit in enumerate(hits)
    ]
    measures = [ir.nDCG @ 10, ir.R @ 1, ir.R @ 10]
    metrics = ir.calc_aggregate(measures, [ir.Qrel(*judgement) for judgement in data.qrels], ranked)
    return [float(metrics[measure]) for measure in measures]


if __name__ == "__main__":
    main()
