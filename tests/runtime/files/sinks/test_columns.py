"""Parquet and npz, whose columns are spooled and then assembled."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spladert.files import Job, Progress, Vocabulary
from spladert.files.place import Place
from spladert.files.sinks import FORMATS
from spladert.files.sinks.columns import IdColumn
from spladert.files.sinks.npz import NpzSink
from spladert.files.sinks.parquet import ParquetSink
from spladert.files.sinks.spooled import SpooledSink
from support.vectors import records_of, sparse_vectors

CONTENT: list[dict[int, float]] = [{5: 2.5, 1: 0.1}, {}, {99: 1e-20}, {7: 3.0, 8: 2.0, 9: 1.0}, {0: 1.0}]
SINKS = [pytest.param(NpzSink, id="npz"), pytest.param(ParquetSink, id="parquet")]
# Ids, and how a column holds them.
IDS = [
    ([1, 2, 3, 4, 5], [1, 2, 3, 4, 5]),
    (["a", "나", "", "d" * 40, "1"], ["a", "나", "", "d" * 40, "1"]),
    ([1, 2, 2**70, -1, 5], ["1", "2", str(2**70), "-1", "5"]),
    ([1, "x", 2**70, -1, "y"], ["1", "x", str(2**70), "-1", "y"]),
    ([1, "1", '"1"', -1, "-1"], ["1", '"1"', r'"\"1\""', "-1", '"-1"']),
]


def write(
    sink_type: type[SpooledSink],
    place: Place,
    job: Job,
    keys: Sequence[str | int],
    content: list[dict[int, float]] = CONTENT,
    names: list[str] | None = None,
    group: int = 100,
) -> None:
    with sink_type(place, Vocabulary(100, names), rows_per_group=group) as sink:
        sink.resume(job)
        for start in range(0, len(keys), 3):
            sink.write(records_of(keys[start : start + 3]), sparse_vectors(content[start : start + 3]))
        sink.commit(Progress(len(keys), 0, 0, "digest"))
        sink.finish()


def check_matrix(path: Path, ids: Sequence[str | int], content: list[dict[int, float]]) -> None:
    sparse = pytest.importorskip("scipy.sparse")
    matrix = sparse.load_npz(path)
    assert isinstance(matrix, sparse.csr_array)
    assert matrix.shape == (len(content), 100)
    assert matrix.dtype == np.float32
    assert np.array_equal(matrix.toarray(), sparse_vectors(content).to_scipy().toarray())
    assert matrix.indices.tolist() == [i for row in content for i in row]  # heaviest first
    with np.load(path) as arrays:
        assert arrays["ids"].tolist() == ids


def check_table(path: Path, ids: Sequence[str | int], content: list[dict[int, float]], names: list[str] | None) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    table = pq.read_table(path).to_pydict()
    assert list(table) == ["id", "indices" if names is None else "tokens", "values"]
    assert table["id"] == ids
    entries = table["indices"] if names is None else [[names.index(name) for name in row] for row in table["tokens"]]
    assert entries == [list(row) for row in content]
    assert [np.float32(row).tolist() for row in table["values"]] == [
        np.float32(list(row.values())).tolist() for row in content
    ]


@pytest.mark.parametrize("group", [1, 2, 100])
@pytest.mark.parametrize(("keys", "ids"), IDS)
def test_npz_is_what_scipy_reads(
    tmp_path: Path, job: Job, keys: list[str | int], ids: list[str | int], group: int
) -> None:
    write(NpzSink, Place(tmp_path / "a.npz", ".npz"), job, keys, group=group)
    check_matrix(tmp_path / "a.npz", ids, CONTENT)


@pytest.mark.parametrize("group", [1, 2, 100])
@pytest.mark.parametrize("tokens", [False, True])
@pytest.mark.parametrize(("keys", "ids"), IDS)
def test_parquet_holds_lists(
    tmp_path: Path, job: Job, keys: list[str | int], ids: list[str | int], tokens: bool, group: int
) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    names = [f"t{i}" for i in range(100)] if tokens else None
    write(ParquetSink, Place(tmp_path / "a.parquet", ".parquet"), job, keys, names=names, group=group)
    check_table(tmp_path / "a.parquet", ids, CONTENT, names)
    assert pq.ParquetFile(tmp_path / "a.parquet").num_row_groups == -(-5 // group)


@pytest.mark.parametrize("rows", [1, 2, 5, 100])
@pytest.mark.parametrize(("keys", "ids"), IDS)
def test_a_folder_has_the_rows_in_parts_of_one_kind_of_id(
    tmp_path: Path, job: Job, keys: list[str | int], ids: list[str | int], rows: int
) -> None:
    pytest.importorskip("pyarrow")
    write(NpzSink, Place(tmp_path / "npz", ".npz", rows_per_part=rows), job, keys)
    write(ParquetSink, Place(tmp_path / "parquet", ".parquet", rows_per_part=rows), job, keys)
    for start in range(0, 5, rows):
        part, some = f"part-{start // rows:05}", slice(start, start + rows)
        check_matrix(tmp_path / "npz" / f"{part}.npz", ids[some], CONTENT[some])
        check_table(tmp_path / "parquet" / f"{part}.parquet", ids[some], CONTENT[some], None)
    assert len(list((tmp_path / "npz").iterdir())) == len(list((tmp_path / "parquet").iterdir())) == -(-5 // rows)


@pytest.mark.parametrize("folder", [False, True])
def test_no_texts_give_a_file_of_no_rows(tmp_path: Path, job: Job, folder: bool) -> None:
    pytest.importorskip("pyarrow")
    rows = 2 if folder else None
    write(NpzSink, Place(tmp_path / "a.npz", ".npz", rows), job, [])
    check_matrix(tmp_path / "a.npz" / "part-00000.npz" if folder else tmp_path / "a.npz", [], [])
    write(ParquetSink, Place(tmp_path / "a.parquet", ".parquet", rows), job, [])
    check_table(tmp_path / "a.parquet" / "part-00000.parquet" if folder else tmp_path / "a.parquet", [], [], None)


@given(st.lists(st.one_of(st.integers(), st.text('1-"\\a', max_size=4)), unique_by=lambda i: (type(i), i)))
def test_ids_that_differ_differ_in_the_column(ids: list[str | int]) -> None:
    column = IdColumn.of(ids)
    values = column.values(ids)
    assert len(set(values)) == len(ids)
    assert max((len(str(value)) for value in values), default=1) <= column.longest


@pytest.mark.parametrize("sink_type", SINKS)
def test_memory_does_not_grow_with_the_rows(tmp_path: Path, job: Job, sink_type: type[SpooledSink]) -> None:
    pytest.importorskip("pyarrow")
    vectors = sparse_vectors([dict.fromkeys(range(50), 1.0)] * 64)

    def peak(chunks: int) -> int:
        tracemalloc.start()
        with sink_type(Place(tmp_path / f"{chunks}", ""), Vocabulary(100), rows_per_group=64) as sink:
            sink.resume(job)
            for chunk in range(chunks):
                sink.write(records_of([f"{chunk}-{i}" for i in range(64)]), vectors)
            sink.commit(Progress(64 * chunks, 0, 0, "digest"))
            sink.finish()
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(1)  # imports and caches
    assert peak(64) < 1.3 * peak(4) + 100_000  # 16 times the rows: 1.6 MB of vectors against 0.1 MB


def test_every_format_of_files_is_in_the_table() -> None:
    assert {row.sink for row in FORMATS.values()} >= {NpzSink, ParquetSink}
