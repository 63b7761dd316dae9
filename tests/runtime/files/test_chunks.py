from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator

import pytest

from spladert.files import BadRecord, ChunkLimits, Record
from spladert.files.chunks import Chunk, ChunkReader


def numbered(count: int, bad: int | None = None) -> Iterator[Record | BadRecord]:
    for i in range(count):
        yield BadRecord(i + 1, "why", b"raw") if i == bad else Record(i + 1, i, "x", size=1)


def chunks(
    records: Iterable[Record | BadRecord],
    *,
    records_each: int = 1024,
    bytes_each: int = 2**20,
    skip_errors: bool = True,
) -> list[Chunk]:
    reader = ChunkReader(records, ChunkLimits(records_each, bytes_each), skip_errors=skip_errors)
    reader.start()
    return list(reader)


def test_chunks_end_at_a_bad_record_unless_those_are_skipped() -> None:
    assert [len(chunk.all) for chunk in chunks(numbered(10, bad=5), records_each=4)] == [4, 4, 2]
    first, second, *_ = chunks(numbered(10, bad=5), records_each=4, skip_errors=False)
    assert (len(first.all), len(second.good), len(second.bad)) == (4, 1, 1)


def test_long_records_make_short_chunks() -> None:
    records = [Record(n, n, "x", size=size) for n, size in enumerate([4, 4, 4, 30, 1, 1])]
    assert [len(chunk.all) for chunk in chunks(records, bytes_each=10)] == [3, 1, 2]
    bad = [BadRecord(n, "why", b"x" * size) for n, size in enumerate([4, 4, 4, 30, 1, 1])]
    assert [len(chunk.all) for chunk in chunks(bad, bytes_each=10)] == [3, 1, 2]


def test_the_records_before_an_error_come_first() -> None:
    def records() -> Iterator[Record | BadRecord]:
        yield from numbered(5)
        raise OSError("the disk is gone")

    reader = ChunkReader(records(), ChunkLimits(records=3))
    reader.start()
    assert [len(next(reader).all) for _ in range(2)] == [3, 2]
    with pytest.raises(OSError, match="the disk is gone"):
        next(reader)


def test_a_chunk_knows_where_the_reading_was() -> None:
    read = 0

    def records() -> Iterator[Record | BadRecord]:
        nonlocal read
        for record in numbered(7):
            read += 10
            yield record

    reader = ChunkReader(records(), ChunkLimits(records=3), position=lambda: read)
    reader.start()
    assert [chunk.position for chunk in reader] == [30, 60, 70]


@pytest.mark.parametrize("patience", [None, 0.001])
def test_only_patience_cuts_a_chunk_that_is_not_full(patience: float | None) -> None:
    more = threading.Event()

    def records() -> Iterator[Record | BadRecord]:
        yield from numbered(2)
        assert more.wait(10)
        yield from numbered(3)

    reader = ChunkReader(records(), ChunkLimits(records=4), patience=patience)
    reader.start()
    if patience is None:
        threading.Timer(0.1, more.set).start()
        assert [len(chunk.all) for chunk in reader] == [4, 1]
    else:
        assert len(next(reader).all) == 2  # the reader is still waiting
        more.set()
        assert sum(len(chunk.all) for chunk in reader) == 3
