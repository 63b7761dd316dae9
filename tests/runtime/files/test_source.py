from __future__ import annotations

import gzip
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from spladert import InputError
from spladert.files import BadRecord, Record, format_of, open_input, read_records


def zstd(content: bytes) -> bytes:
    zstandard = pytest.importorskip("zstandard")
    compressed: bytes = zstandard.ZstdCompressor().compress(content)
    return compressed


def read(path: Path) -> list[Record | BadRecord]:
    with open_input(str(path)) as source:
        return list(read_records(source.stream, format_of(str(path))))


@pytest.mark.parametrize(
    ("name", "compress"), [("a.txt.gz", gzip.compress), ("a.txt.GZ", gzip.compress), ("a.txt.zst", zstd)]
)
def test_a_compressed_file_is_read_and_a_cut_one_to_where_it_is_cut(
    tmp_path: Path, name: str, compress: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / name
    lines = [f"{i} 안녕 {i * i}" for i in range(50_000)]
    whole = compress("".join(f"{line}\n" for line in lines).encode())
    path.write_bytes(whole)
    with open_input(str(path)) as source:
        records = list(read_records(source.stream, "text"))
        assert source.position() == source.size == len(whole)
    assert [record.text for record in records if isinstance(record, Record)] == lines
    path.write_bytes(whole[: len(whole) // 2])
    *good, bad = read(path)
    found = [record.text for record in good if isinstance(record, Record)]
    assert len(found) == len(good) > 10_000
    assert found == lines[: len(found)]
    assert isinstance(bad, BadRecord)
    assert bad.line == len(found) + 1
    assert "data is cut here" in bad.error


def test_every_record_before_the_cut_is_kept(tmp_path: Path) -> None:
    whole = gzip.compress(b"one\ntwo\nthree\n", compresslevel=0)  # stored as it is
    cut = whole.index(b"ree")
    (tmp_path / "a.txt.gz").write_bytes(whole[:cut])
    one, two, bad = read(tmp_path / "a.txt.gz")
    assert [one, two] == [Record(1, 1, "one"), Record(2, 2, "two")]
    assert isinstance(bad, BadRecord)
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b'text\n"one"\n"two\n', compresslevel=0)[:-9])
    first, bad = read(tmp_path / "a.csv.gz")
    assert isinstance(first, Record)
    assert isinstance(bad, BadRecord)
    assert "data is cut here" in bad.error


@pytest.mark.parametrize(("ending", "compress"), [("gz", gzip.compress), ("zst", zstd)])
def test_compressed_files_put_together_are_read_to_the_end(
    tmp_path: Path, ending: str, compress: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / f"a.txt.{ending}"
    path.write_bytes(compress(b"a\nb") + compress(b"") + compress(b"c\n") + bytes(10_000))
    assert [record.text for record in read(path) if isinstance(record, Record)] == ["a", "bc"]
    path.write_bytes(b"")
    assert read(path) == []


def test_damaged_compressed_data_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.txt.gz"
    path.write_bytes(b"no gzip data")
    (bad,) = read(path)
    assert isinstance(bad, BadRecord)
    assert "the gz data is damaged here" in bad.error


def test_a_missing_input_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(InputError, match=r"gone\.txt cannot be read: No such file"),
        open_input(str(tmp_path / "gone.txt")),
    ):
        pass
    with pytest.raises(InputError, match="cannot be read: Is a directory"), open_input(str(tmp_path)):
        pass
    with pytest.raises(InputError, match="cannot be read: embedded null byte"), open_input("a\0b"):
        pass


def test_a_pipe_is_live_and_a_file_is_not(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a\n")
    with open_input(str(tmp_path / "a.txt")) as source:
        assert not source.live
    os.mkfifo(tmp_path / "fifo")
    threading.Thread(target=(tmp_path / "fifo").write_text, args=("a\n",)).start()
    with open_input(str(tmp_path / "fifo")) as source:
        assert source.live
        assert source.stream.read() == b"a\n"
