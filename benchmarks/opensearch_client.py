"""A client on opensearch-py alone, as people write it, with the vectors of spladert and with those of transformers.

    python -m benchmarks.opensearch_client --url http://127.0.0.1:9200 --texts passages.txt

Documents are encoded one by one and sent by `helpers.bulk`, questions encoded and asked one by one, with one thread
each, in turns. Processor time is the client's own, the node's is not in it.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from spladert import SparseEncoder

INDEX = "spladert-benchmark"
CHECKPOINT = Path(__file__).parents[1] / "training" / "korean-splade-small"
Encode = Callable[[str], dict[str, float]]


def by_transformers(checkpoint: Path, max_length: int) -> Encode:
    """The model card's way."""
    import torch
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    model = AutoModelForMaskedLM.from_pretrained(checkpoint).float().eval()
    tokens = tokenizer.convert_ids_to_tokens(list(range(model.config.vocab_size)))

    def encode(text: str) -> dict[str, float]:
        inputs = tokenizer(text, return_tensors="pt", truncation=True, max_length=max_length)
        inputs.pop("token_type_ids", None)
        with torch.no_grad():
            weights = torch.log1p(torch.relu(model(**inputs).logits)).amax(dim=1)[0]
        chosen = weights.nonzero()[:, 0]
        return {tokens[i]: weight for i, weight in zip(chosen.tolist(), weights[chosen].tolist(), strict=True)}

    return encode


def fill(client: Any, encode: Encode, texts: Sequence[str]) -> None:
    from opensearchpy import helpers

    properties = {"text": {"type": "text"}, "sparse": {"type": "rank_features"}}
    client.indices.delete(index=INDEX, ignore_unavailable=True)
    client.indices.create(index=INDEX, body={"mappings": {"properties": properties}})
    actions: Iterator[dict[str, Any]] = (
        {"_index": INDEX, "_id": str(n), "text": text, "sparse": storable(encode(text))} for n, text in enumerate(texts)
    )
    helpers.bulk(client, actions, refresh=True)


def storable(vector: dict[str, float]) -> dict[str, float]:
    """Without what the field refuses: keys with a dot, which many versions do, and weights that are too small."""
    return {token: weight for token, weight in vector.items() if "." not in token and weight > 1e-30}


def ask(client: Any, encode: Encode, questions: Sequence[str]) -> None:
    for question in questions:
        clause = {"neural_sparse": {"sparse": {"query_tokens": encode(question)}}}
        client.search(index=INDEX, body={"query": clause, "_source": False})


def timed(work: Callable[[], None], count: int) -> tuple[float, float]:
    """Milliseconds of processor time and by the clock, of each of `count`."""
    processor, clock = time.process_time(), time.perf_counter()
    work()
    return 1000 * (time.process_time() - processor) / count, 1000 * (time.perf_counter() - clock) / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:9200")
    parser.add_argument("--texts", type=Path, required=True, help="a text a line; the questions are taken from its end")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--bundle", help="default: the one that comes with spladert")
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT, help="that the bundle is made of")
    given = parser.parse_args()

    from opensearchpy import OpenSearch

    lines = given.texts.read_text(encoding="utf-8").splitlines()
    documents, questions = lines[: given.count], lines[-given.count :]
    client = OpenSearch(given.url, timeout=600)
    with SparseEncoder.load(given.bundle, threads=1, spin=False) as encoder:
        encoders: dict[str, Encode] = {
            "spladert": lambda text: encoder.to_tokens(encoder.encode(text)),
            "transformers": by_transformers(given.checkpoint, encoder.manifest.max_length),
        }
        times: dict[tuple[str, str], list[tuple[float, float]]] = {}
        for turn in range(given.rounds + 1):  # the first one warms up
            for name, encode in encoders.items():
                filled = timed(partial(fill, client, encode, documents), len(documents))
                asked = timed(partial(ask, client, encode, questions), len(questions))
                if turn:
                    times.setdefault(("a document", name), []).append(filled)
                    times.setdefault(("a question", name), []).append(asked)
    client.indices.delete(index=INDEX, ignore_unavailable=True)
    print("| | | processor, ms | by the clock, ms |\n|---|---|---|---|")
    for (what, name), found in sorted(times.items()):
        processor, clock = (statistics.median(column) for column in zip(*found, strict=True))
        print(f"| {what} | {name} | {processor:.1f} | {clock:.1f} |")


if __name__ == "__main__":
    main()
