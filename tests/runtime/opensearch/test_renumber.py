"""Vocabularies of more than 32,768 entries in a sparse_vector field, on a real node, beyond the threshold."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spladert import SparseEncoder, SparseVector, SparseVectors
from spladert.errors import InputError
from spladert.opensearch import (
    Ceilings,
    document_tokens,
    index_body,
    loss_of,
    number_tokens,
    numbered_keys,
    query_body,
    read_numbers,
    settle_numbers,
)
from spladert.opensearch.renumber import NUMBERS
from spladert.stores import Connection, How, open_searcher
from support.checkpoints import LINES, make_checkpoint
from support.opensearch_load import load_documents, write_documents

VOCABULARY = 50_000
DOCUMENTS, THRESHOLD = 2_000, 100


@pytest.fixture(scope="module")
def vectors() -> SparseVectors:
    """Random vectors over the whole vocabulary, some ids far more frequent than others, as words are."""
    random = np.random.default_rng(0)
    tokens = random.permutation(VOCABULARY).astype(np.int32)  # from the most frequent to the rarest
    rows = []
    for _ in range(DOCUMENTS):
        ranks = random.permutation(np.unique(VOCABULARY * random.random(60) ** 8).astype(np.int32))
        ids = np.unique(tokens[ranks])[:40]
        values = np.sort(random.uniform(0.1, 3, len(ids)).astype(np.float32))[::-1]
        rows.append(SparseVector(random.permutation(ids), values))
    return SparseVectors.from_rows(rows, VOCABULARY)


def test_what_fires_most_has_a_number_and_the_rest_by_id() -> None:
    ids = np.array([49_999, 49_999, 40_000, 7], np.int32)
    sample = SparseVectors(np.array([0, 4]), ids, np.ones(4, np.float32), VOCABULARY)
    numbers = number_tokens(sample)
    assert numbers[:5].tolist() == [49_999, 7, 40_000, 0, 1]
    assert len(numbers) == NUMBERS
    keys = numbered_keys(numbers, VOCABULARY)
    assert max(map(int, keys.ids)) == 32_767
    assert keys.by_id[49_999] == "0"
    assert keys.by_id[49_998] is None


def test_a_small_vocabulary_is_numbered_whole() -> None:
    sample = SparseVectors(np.array([0, 1]), np.array([2], np.int32), np.ones(1, np.float32), 3)
    assert number_tokens(sample).tolist() == [2, 0, 1]


def test_numbers_of_another_vocabulary_are_refused() -> None:
    for wrong in ([0, 0], [5], [-1]):
        with pytest.raises(InputError, match="not of a vocabulary of 5"):
            numbered_keys(np.array(wrong, np.int32), 5)


def test_the_first_numbers_hold_for_everyone(client: Any, index: str, vectors: SparseVectors) -> None:
    first = settle_numbers(client, index, vectors)
    second = settle_numbers(client, index, vectors[:3])
    assert first.sha256 == second.sha256 == read_numbers(client, index).sha256
    client.indices.delete(index=f"{index}-numbers")
    with pytest.raises(InputError, match="the numbers are gone"):
        read_numbers(client, index)


def test_an_index_beyond_the_threshold_lives_and_finds(
    client: Any, index: str, vectors: SparseVectors, encoder: SparseEncoder
) -> None:
    assert vectors.indices.max() > 49_000, "these are the ids that the index would not survive"
    keys = settle_numbers(client, index, vectors[:500])
    body = index_body(
        encoder.bundle,
        "sparse",
        "sparse_vector",
        keys=keys,
        ceilings=Ceilings.measured(vectors),
        parameters={"approximate_threshold": THRESHOLD},
        settings={"number_of_replicas": 0},
    )
    client.indices.create(index=index, body=body)
    lines = []
    for n, vector in enumerate(vectors):
        lines += [{"index": {"_id": str(n)}}, {"sparse": document_tokens(vector, keys)}]
    answer = client.bulk(body="\n".join(map(json.dumps, lines)) + "\n", index=index)
    assert not answer["errors"]
    client.indices.refresh(index=index)
    client.indices.forcemerge(index=index, max_num_segments=1)
    assert client.cluster.health(index=index)["status"] == "green"
    assert client.count(index=index)["count"] == DOCUMENTS

    loss = loss_of(keys, vectors)
    assert loss.entries > 0
    assert loss.share < 0.15, "a third of the tokens has no number, and little of the weight"
    matrix = vectors.to_scipy()
    found = 0
    for n in range(100):
        query = vectors[n * 17]
        exact = np.argsort(-(matrix @ matrix[[n * 17]].T).toarray()[:, 0], kind="stable")[:10]
        hits = client.search(index=index, body=query_body(query, "sparse", "sparse_vector", keys=keys))["hits"]["hits"]
        found += len({int(hit["_id"]) for hit in hits} & set(exact.tolist()))
    assert found >= 900, "nine of ten of the exact top ten, for random vectors have no clusters to find"


def test_a_large_vocabulary_goes_in_and_is_found(
    client: Any, address: str, index: str, tmp_path: Path, shared: Path
) -> None:
    """A model with the card's vocabulary (and random weights): numbers are made, kept and used by both sides."""
    pytest.importorskip("torch", reason="needs the export extra: pip install 'spladert[export]'")
    from spladert_export import export

    checkpoint = make_checkpoint("modernbert", tmp_path / "checkpoint", vocab_size=VOCABULARY)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(shared / "models" / "korean-neural-sparse-encoder" / name, checkpoint)
    bundle = export(checkpoint, tmp_path / "bundle", top_k=32).path
    url = f"opensearch://{address}/{index}"
    path = write_documents(tmp_path / "docs.jsonl", [{"_id": f"d{n}", "text": text} for n, text in enumerate(LINES)])
    with SparseEncoder.load(bundle, threads=1, spin=False) as model:
        vectors = model.encode_document(LINES)
        assert vectors.indices.max() > NUMBERS, "these ids would be the end of the index"
        load_documents(model, f"{url}?kind=sparse_vector", path, tmp_path / "state")
        keys = read_numbers(client, index)
        assert loss_of(keys, vectors).entries == 0, "all that fired in the sample has a number"
        again = [{"_id": "new", "text": LINES[0] + " " + LINES[1]}]
        load_documents(model, url, write_documents(tmp_path / "more.jsonl", again), tmp_path / "state")
        with open_searcher(url, Connection()) as searcher:
            answer = searcher.search(model, LINES[3], How(top=3))
    assert answer.hits[0].id == "d3"
    assert client.count(index=index)["count"] == len(LINES) + 1
    assert client.indices.get(index=index)[index]["mappings"]["_meta"]["spladert"]["sparse"]["spelling"] == "numbers"
