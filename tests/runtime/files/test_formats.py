from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spladert import InputError, SparseVector, SparseVectors
from spladert.files.formats import FORMATS, jsonl_bytes, unique_names

weights = st.floats(min_value=2**-126, max_value=2**100, width=32)
rows = st.lists(st.dictionaries(st.integers(0, 99), weights, max_size=8), max_size=6)
ids = st.one_of(st.integers(), st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20))


def vectors(content: list[dict[int, float]]) -> SparseVectors:
    return SparseVectors.from_rows(
        [SparseVector(np.array(list(row), np.int32), np.array(list(row.values()), np.float32)) for row in content], 100
    )


@given(st.lists(st.text(max_size=2)))
def test_names_are_unique_and_keep_what_is_unique_already(tokens: list[str]) -> None:
    names = unique_names(tokens)
    assert len(set(names)) == len(names) == len(tokens)
    assert all(name.startswith(token) for name, token in zip(names, tokens, strict=True))
    if len(set(tokens)) == len(tokens):
        assert names == tokens


def test_names_of_equal_tokens_say_the_id() -> None:
    assert unique_names(["a", "b", "a", "a#2"]) == ["a", "b", "a#2", "a#2#3"]


@given(rows, st.data())
def test_json_lines_give_the_same_float32_back(content: list[dict[int, float]], data: st.DataObject) -> None:
    keys = data.draw(st.lists(ids, min_size=len(content), max_size=len(content)))
    lines = jsonl_bytes(keys, vectors(content), None).decode().split("\n")[:-1]
    found = [json.loads(line) for line in lines]
    assert [line["id"] for line in found] == keys
    assert [dict(zip(line["indices"], np.float32(line["values"]).tolist(), strict=True)) for line in found] == content


@given(rows)
def test_json_lines_with_tokens_lose_no_entry(content: list[dict[int, float]]) -> None:
    names = unique_names([f"t{i % 7}" for i in range(100)])
    lines = jsonl_bytes(list(range(len(content))), vectors(content), names).decode().splitlines()
    found = [json.loads(line)["vector"] for line in lines]
    assert [{names[i]: w for i, w in row.items()} for row in content] == [
        {token: float(np.float32(w)) for token, w in row.items()} for row in found
    ]


def test_an_infinite_weight_is_refused() -> None:
    with pytest.raises(InputError, match="infinite weight"):
        jsonl_bytes([1], vectors([{3: float("inf")}]), None)


def assembled(
    tmp_path: Path, kind: str, keys: list[str | int], content: list[dict[int, float]], names: list[str] | None
) -> Path:
    output_format = FORMATS[kind]  # type: ignore[index]
    for name, data in output_format.spool(keys, vectors(content), names).items():
        (tmp_path / name).write_bytes(data)
    return output_format.assemble(tmp_path, names, 100)


CONTENT: list[dict[int, float]] = [{5: 2.5, 1: 0.1}, {}, {99: 1e-20}, {7: 3.0, 8: 2.0, 9: 1.0}, {0: 1.0}]


@pytest.mark.parametrize("group", [1, 2, 100])
@pytest.mark.parametrize("keys", [[1, 2, 3, 4, 5], ["a", "나", "", "d" * 40, "e"], [1, "x", 2**70, -1, "y"]])
def test_npz_is_what_scipy_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keys: list[str | int], group: int
) -> None:
    sparse = pytest.importorskip("scipy.sparse")
    monkeypatch.setattr("spladert.files.formats.ROWS_PER_GROUP", group)
    path = assembled(tmp_path, "npz", keys, CONTENT, None)
    with path.open("rb") as stream:
        matrix = sparse.load_npz(stream)
    assert isinstance(matrix, sparse.csr_array)
    assert matrix.shape == (5, 100)
    assert matrix.dtype == np.float32
    assert np.array_equal(matrix.toarray(), vectors(CONTENT).to_scipy().toarray())
    assert matrix.indices[:2].tolist() == [5, 1]  # heaviest first
    with path.open("rb") as stream, np.load(stream) as arrays:
        expected = keys if all(isinstance(key, int) for key in keys) else [str(key) for key in keys]
        assert arrays["ids"].tolist() == expected


@pytest.mark.parametrize("group", [1, 2, 100])
@pytest.mark.parametrize("tokens", [False, True])
@pytest.mark.parametrize("keys", [[1, 2, 3, 4, 5], [1, "x", 2**70, -1, "y"]])
def test_parquet_holds_lists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keys: list[str | int], tokens: bool, group: int
) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr("spladert.files.formats.ROWS_PER_GROUP", group)
    names = [f"t{i}" for i in range(100)] if tokens else None
    path = assembled(tmp_path, "parquet", keys, CONTENT, names)
    table = pq.read_table(path).to_pydict()
    expected = keys if all(isinstance(key, int) for key in keys) else [str(key) for key in keys]
    assert table["id"] == expected
    entry = "tokens" if tokens else "indices"
    assert table[entry] == [[f"t{i}" if tokens else i for i in row] for row in CONTENT]
    assert [np.float32(row).tolist() for row in table["values"]] == [
        np.float32(list(row.values())).tolist() for row in CONTENT
    ]
    assert pq.ParquetFile(path).num_row_groups == -(-5 // group)


@pytest.mark.parametrize("kind", ["npz", "parquet"])
def test_no_texts_give_an_empty_file(tmp_path: Path, kind: str) -> None:
    pytest.importorskip("pyarrow")
    assert assembled(tmp_path, kind, [], [], None).stat().st_size > 0
