"""What int8 costs in retrieval: nDCG@10 of cpu-int8, by each engine, against cpu-fp32, over the pairs of training.

    spladert export training/korean-splade-small FP32_BUNDLE --precision fp32
    python -m benchmarks.fidelity FP32_BUNDLE [BUNDLE]

BUNDLE is the package's own model where it is left out. A question has one right passage, searched among all passages of
its source. Most pairs were trained on: what counts is the difference, not the height.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from spladert import SparseEncoder
from spladert.evaluation import RetrievalData, evaluate_vectors
from training.data import Pair, read_pairs, validation_set


def judged(pairs: list[Pair], source: str) -> RetrievalData:
    """Every question of a source against every passage of it."""
    found = validation_set(pairs, pairs, source)
    return RetrievalData(
        document_ids=tuple(found.passages),
        documents=tuple(found.passages.values()),
        query_ids=tuple(found.queries),
        queries=tuple(found.queries.values()),
        qrels=tuple((query, passage, 1) for query, right in found.relevant.items() for passage in right),
    )


def scores(encoder: SparseEncoder, sets: Sequence[RetrievalData]) -> list[float]:
    """nDCG@10 of each set."""
    return [
        evaluate_vectors(one, encoder.encode_query(one.queries), encoder.encode_document(one.documents)).ndcg_at_10
        for one in sets
    ]


def table(names: Sequence[str], counts: Sequence[int], found: dict[str, list[float]]) -> str:
    """Markdown: a row an engine, a column a source and one for all questions; the first row is the reference."""
    lines = [f"| | {' | '.join(f'{n} ({c})' for n, c in zip(names, counts, strict=True))} | all | kept |"]
    lines.append("|---" * (len(names) + 3) + "|")
    means = {
        engine: sum(score * count for score, count in zip(values, counts, strict=True)) / sum(counts)
        for engine, values in found.items()
    }
    reference = next(iter(means.values()))
    for engine, values in found.items():
        cells = " | ".join(f"{score:.4f}" for score in values)
        lines.append(f"| {engine} | {cells} | {means[engine]:.4f} | {means[engine] / reference:.2%} |")
    return "\n".join(lines)


def main(args: argparse.Namespace) -> None:
    pairs = read_pairs(Path(os.environ.get("SPLADERT_SHARED", "../shared")) / "data")
    names = sorted({pair.source for pair in pairs})
    sets = [judged(pairs, name) for name in names]
    found: dict[str, list[float]] = {}
    choices = ((args.fp32_bundle, "cpu-fp32", None), (args.bundle, "cpu-int8", "onnx"), (args.bundle, "cpu-int8", None))
    for bundle, variant, isa in choices:
        with SparseEncoder.load(bundle, variant=variant, isa=isa) as encoder:
            found[f"{variant}, {encoder.engine.runs_on}"] = scores(encoder, sets)
    print(table(names, [len(one.queries) for one in sets], found))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fp32_bundle", type=Path)
    parser.add_argument("bundle", type=Path, nargs="?")
    main(parser.parse_args())
