"""Cutting a corpus into parts: every row in one of them, whatever the sizes."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spladert.cluster import find_parts
from spladert.cluster.parts import read_part
from spladert.cluster.place import Place
from spladert.cluster.rows import line_objects, parquet_batches
from spladert.errors import InputError

pa = pytest.importorskip("pyarrow", reason="needs the parquet extra: pip install 'spladert[parquet]'")
pytest.importorskip("pyarrow.parquet")


@given(
    lines=st.lists(st.binary(max_size=12).map(lambda raw: raw.replace(b"\n", b" ")), min_size=1, max_size=12),
    part_bytes=st.integers(1, 40),
    ends=st.booleans(),
)
def test_ranges_of_bytes_hold_every_line_once(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], part_bytes: int, ends: bool
) -> None:
    path = tmp_path_factory.mktemp("lines") / "a.txt"
    content = b"\n".join(lines) + (b"\n" if ends else b"")
    path.write_bytes(content)
    source = Place.of(str(path))
    if not content:
        with pytest.raises(InputError, match="holds no rows"):
            find_parts(source, part_bytes)
        return
    pieces = [read_part(source, part) for part in find_parts(source, part_bytes)]
    assert b"".join(pieces) == content
    assert all(piece.endswith(b"\n") for piece in pieces[:-1] if piece and not content.endswith(piece))


def test_a_folder_of_many_kinds(tmp_path: Path) -> None:
    folder = tmp_path / "corpus" / "year=2026" / "lang=ko%2Fkr"
    folder.mkdir(parents=True)
    table = pa.table({"text": [f"글 {n}" for n in range(100)]})
    pa.parquet.write_table(table, folder / "a.parquet", row_group_size=10)
    (tmp_path / "corpus" / "b.jsonl.gz").write_bytes(gzip.compress(b'{"text": "x"}\n' * 50))
    (tmp_path / "corpus" / "_SUCCESS").write_bytes(b"")
    (tmp_path / "corpus" / ".part.crc").write_bytes(b"x")
    source = Place.of(str(tmp_path / "corpus"))
    parts = find_parts(source, 300)
    assert [part.number for part in parts] == list(range(len(parts)))
    assert {part.kind for part in parts} == {"parquet", "jsonl"}
    parquet = [part for part in parts if part.kind == "parquet"]
    assert len(parquet) > 1
    assert parquet[0].partition == {"year": "2026", "lang": "ko/kr"}
    rows = [row for part in parquet for batch in parquet_batches(source, part) for row in batch.to_pylist()]
    assert rows == table.to_pylist()
    [packed] = [part for part in parts if part.kind == "jsonl"]
    assert len(list(line_objects(source, packed, lambda *_: None))) == 50


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"text\nx\n", "on a cluster parquet, jsonl, text are read"),
        ("a.parquet", b"PAR1", "not a whole parquet file"),
        ("a.txt", b"", "holds no rows"),
        ("a.doc", b"x", "says no format"),
    ],
)
def test_what_is_no_corpus(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        find_parts(Place.of(str(tmp_path)), 1000)


def test_places_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no file"):
        find_parts(Place.of(str(tmp_path / "gone")), 1000)
    with pytest.raises(InputError, match="no place that pyarrow can open"):
        Place.of("nothing://x/y")


def test_lines_that_are_no_objects_are_rejected_with_their_place(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"text": "a"}\n\n[1]\n{"text": \n' + b"\xff\n" + json.dumps({"text": "b"}).encode())
    [part] = find_parts(Place.of(str(path)), 10_000)
    rejected: list[tuple[int, str, str]] = []
    good = list(line_objects(Place.of(str(path)), part, lambda *what: rejected.append(what)))
    assert [row["text"] for _, row in good] == ["a", "b"]
    assert [line for line, _, _ in rejected] == [3, 4, 5]
