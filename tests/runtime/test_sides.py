"""Queries and documents told apart: prompts, lengths, and queries that are looked up."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spladert import BundleError, InputError, SparseEncoder, SparseVectors
from spladert.bundle import FILE_NAME, BundleFile, open_bundle
from spladert.query_table import look_up
from support.checkpoints import LINES

Make = Callable[..., SparseEncoder]


@pytest.fixture
def make(tiny_bundle: Path, tmp_path: Path) -> Make:
    """Makes an encoder over the tiny bundle with other fields in its manifest."""

    def with_fields(**fields: Any) -> SparseEncoder:
        copy = Path(shutil.copytree(tiny_bundle, tmp_path / "copy", dirs_exist_ok=True))
        table = fields.get("query_table")
        if table is not None:
            content = io.BytesIO()
            np.save(content, table)
            digest = hashlib.sha256(content.getvalue()).hexdigest()
            fields["query_table"] = BundleFile("query-weights.npy", len(content.getvalue()), digest)
            (copy / "query-weights.npy").write_bytes(content.getvalue())
        manifest = dataclasses.replace(open_bundle(copy).manifest, **fields)
        (copy / FILE_NAME).write_text(manifest.to_json(), encoding="utf-8")
        return SparseEncoder.load(copy, device="cpu", threads=1)

    return with_fields


def test_without_sides_both_are_encode(make: Make) -> None:
    encoder = make()
    assert encoder.encode_query(LINES) == encoder.encode(LINES) == encoder.encode_document(LINES)
    assert encoder.encode_query(LINES[0], top_k=3) == encoder.encode(LINES[0], top_k=3, side="document")


def test_a_prompt_goes_before_the_text(make: Make) -> None:
    encoder = make(prompts={"query": "법원: "}, requires=("prompts",))
    assert encoder.encode_query("계약서") == encoder.encode("법원: 계약서")
    assert encoder.encode_document(["계약서"]) == encoder.encode(["계약서"])


def test_each_side_has_its_length(make: Make) -> None:
    encoder = make(query_max_length=8, document_max_length=32, requires=("side-lengths",))
    long = " ".join(LINES * 2)
    for side, length in (("query", 8), ("document", 32), (None, 64)):
        tokenized = encoder.tokenize_batch([long, "법원"], side=side)
        assert len(tokenized.input_ids[0]) == length
        assert tokenized.truncated.tolist() == [True, False]
    assert encoder.encode_query(long) == encoder.encode(long, max_length=8)
    assert encoder.encode_query([long, "법원"]).truncated == 1
    with pytest.raises(InputError, match="max_length is 9; this bundle takes 3 to 8 tokens"):
        encoder.encode_query(long, max_length=9)


@pytest.mark.parametrize("max_length", [0, 2, 65, 8.0, "8"])
def test_lengths_out_of_range(make: Make, max_length: Any) -> None:
    with pytest.raises(InputError, match=f"max_length is {max_length!r}; this bundle takes 3 to 64 tokens"):
        make().encode("a", max_length=max_length)


def test_another_side(make: Make) -> None:
    with pytest.raises(InputError, match="side is 'passage'; give 'query' or 'document'"):
        make().encode("a", side="passage")  # type: ignore[call-overload]


def test_typed_special_tokens_are_text_where_one_says_so(make: Make) -> None:
    encoder = make()
    special = set(encoder.manifest.special_token_ids) - {1}  # [UNK] is what unknown characters become
    [read], [split] = (
        encoder.tokenize_batch(["법원 [SEP] [MASK] 손해"], split_special_tokens=split, special_tokens=False).input_ids
        for split in (False, True)
    )
    assert set(read) & special
    assert not set(split) & special
    assert encoder.encode("[MASK]", split_special_tokens=True) != encoder.encode("[MASK]")
    assert encoder.encode(LINES, split_special_tokens=True) == encoder.encode(LINES)


def test_a_query_is_looked_up_and_a_document_is_not(make: Make) -> None:
    size = make().manifest.vocabulary_size
    table = (np.arange(size, dtype=np.float32) + 1) / 10  # of special tokens too, where a text spells them out
    encoder = make(query_table=table, requires=("query-table",))
    [ids] = encoder.tokenize_batch(["계약서 계약서 약관"], special_tokens=False).input_ids
    vector = encoder.encode_query("계약서 계약서 약관")
    assert vector.to_dict() == {i: table[i] for i in sorted(set(ids), reverse=True)}
    assert encoder.encode_query(["", "계약서"])[0].to_dict() == {}
    cls = encoder.manifest.special_token_ids[0]
    assert encoder.encode_query(encoder.tokens[cls]).to_dict() == {cls: table[cls]}
    assert len(encoder.encode_query("계약서 약관", top_k=1)) == 1
    assert encoder.encode_document(LINES) == make().encode(LINES)
    long = " ".join(LINES * 2)
    assert encoder.encode_query([long]).truncated == 1
    with pytest.raises(InputError, match="top_k is 0"):
        encoder.encode_query("a", top_k=0)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (np.ones(7, np.float32), "is not a float32 array of"),
        (np.ones(407, np.float64), "is not a float32 array of"),
        (np.array([{}]), "is not a table of query weights"),
        ("negative", "negative or not finite"),
        ("infinite", "negative or not finite"),
    ],
)
def test_a_damaged_table(make: Make, table: Any, message: str) -> None:
    size = make().manifest.vocabulary_size
    if isinstance(table, str):
        table = np.full(size, -1 if table == "negative" else np.inf, np.float32)
    with pytest.raises(BundleError, match=message):
        make(query_table=table, requires=("query-table",))


@given(st.lists(st.lists(st.integers(0, 19), max_size=12), max_size=6), st.integers(1, 5))
def test_the_table_is_looked_up_as_by_hand(rows: list[list[int]], top_k: int) -> None:
    table = np.array([0, 0, *(i % 4 for i in range(18))], np.float32)
    vectors = SparseVectors.from_batches(look_up(table, rows, top_k), len(rows), len(table))
    assert len(vectors) == len(rows)
    for row, vector in zip(rows, vectors, strict=True):
        expected = sorted((-table[i], i) for i in set(row) if table[i] > 0)[:top_k]
        assert vector.indices.tolist() == [i for _, i in expected]
        assert vector.values.tolist() == [-weight for weight, _ in expected]
