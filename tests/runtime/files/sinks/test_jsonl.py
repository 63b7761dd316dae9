from __future__ import annotations

import gzip
import io
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spladert import InputError
from spladert.files import BadRecord, Job, Progress, Vocabulary
from spladert.files.place import Place
from spladert.files.sinks.jsonl import JsonlSink, JsonlStream, jsonl_lines
from support.vectors import records_of, sparse_vectors

weights = st.floats(min_value=2**-126, max_value=2**100, width=32)
rows = st.lists(st.dictionaries(st.integers(0, 99), weights, max_size=8), max_size=6)
ids = st.one_of(st.integers(), st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20))


@given(rows, st.data())
def test_lines_give_the_same_float32_back(content: list[dict[int, float]], data: st.DataObject) -> None:
    keys = data.draw(st.lists(ids, min_size=len(content), max_size=len(content)))
    lines = jsonl_lines(records_of(keys), sparse_vectors(content), None)[0].decode().split("\n")[:-1]
    found = [json.loads(line) for line in lines]
    assert [line["id"] for line in found] == keys
    assert [dict(zip(line["indices"], np.float32(line["values"]).tolist(), strict=True)) for line in found] == content


@given(rows)
def test_lines_with_tokens_lose_no_entry(content: list[dict[int, float]]) -> None:
    names = [f't{i}"\\' for i in range(100)]
    lines = jsonl_lines(records_of(range(len(content))), sparse_vectors(content), names)[0].decode().splitlines()
    found = [json.loads(line)["vector"] for line in lines]
    assert [{names[i]: w for i, w in row.items()} for row in content] == [
        {token: float(np.float32(w)) for token, w in row.items()} for row in found
    ]


def test_an_infinite_weight_is_refused() -> None:
    with pytest.raises(InputError, match="infinite weight"):
        jsonl_lines(records_of([1]), sparse_vectors([{3: float("inf")}]), None)


CONTENT: list[dict[int, float]] = [{5: 2.5, 1: 0.5}, {}, {99: 1.5}]
LINES = [
    b'{"id":1,"indices":[5,1],"values":[2.5,0.5]}\n',
    b'{"id":"1","indices":[],"values":[]}\n',
    '{"id":"나","indices":[99],"values":[1.5]}\n'.encode(),
]


def write(sink: JsonlSink, job: Job) -> None:
    with sink:
        sink.resume(job)
        sink.write(records_of([1, "1", "나"]), sparse_vectors(CONTENT))
        sink.commit(Progress(3, 0, 0, "digest"))
        sink.finish()


def test_a_file_has_a_line_a_record_and_1_is_not_the_string(tmp_path: Path, job: Job) -> None:
    write(JsonlSink(Place(tmp_path / "a.jsonl", ".jsonl"), Vocabulary(100)), job)
    assert (tmp_path / "a.jsonl").read_bytes() == b"".join(LINES)
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]


def test_a_folder_has_the_lines_in_parts(tmp_path: Path, job: Job) -> None:
    write(JsonlSink(Place(tmp_path / "a", ".jsonl", rows_per_part=2), Vocabulary(100)), job)
    parts = {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir()}
    assert parts == {"part-00000.jsonl": b"".join(LINES[:2]), "part-00001.jsonl": LINES[2]}


def test_a_gz_is_compressed_and_has_the_same_bytes_each_time(tmp_path: Path, job: Job) -> None:
    for name in ("a", "b"):
        write(JsonlSink(Place(tmp_path / f"{name}.jsonl.gz", ".jsonl.gz"), Vocabulary(100), compression=".gz"), job)
    assert gzip.decompress((tmp_path / "a.jsonl.gz").read_bytes()) == b"".join(LINES)
    assert (tmp_path / "a.jsonl.gz").read_bytes() == (tmp_path / "b.jsonl.gz").read_bytes()


def test_a_zst_is_one_frame(tmp_path: Path, job: Job) -> None:
    zstandard = pytest.importorskip("zstandard")
    place = Place(tmp_path / "a", ".jsonl.zst", rows_per_part=2)
    write(JsonlSink(place, Vocabulary(100), compression=".zst"), job)
    part = (tmp_path / "a" / "part-00000.jsonl.zst").read_bytes()
    decompressor = zstandard.ZstdDecompressor().decompressobj()
    assert decompressor.decompress(part) == b"".join(LINES[:2])
    assert decompressor.eof
    assert decompressor.unused_data == b""


@pytest.mark.parametrize("compression", [None, ".gz"])
def test_a_stream_gets_each_chunk_at_once(compression: str | None) -> None:
    class Flushed(io.BytesIO):
        seen = b""

        def flush(self) -> None:
            self.seen = self.getvalue()

    stream, skipped = Flushed(), list[BadRecord]()
    sink = JsonlStream(stream, Vocabulary(100), skipped.append, compression=compression)
    sink.write(records_of([1]), sparse_vectors(CONTENT[:1]))
    if compression is None:
        assert stream.seen == LINES[0]
    else:
        assert gzip.zlib.decompressobj(31).decompress(stream.seen) == LINES[0]  # type: ignore[attr-defined]
    sink.write(records_of(["1"]), sparse_vectors(CONTENT[1:2]))
    sink.reject([BadRecord(3, "why", b"")])
    sink.finish()
    whole = stream.seen if compression is None else gzip.decompress(stream.seen)
    assert whole == b"".join(LINES[:2])
    assert skipped == [BadRecord(3, "why", b"")]
