from __future__ import annotations

import io
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from spladert import InputError, SparseEncoder, SparseVectors
from spladert.files import (
    BadRecord,
    ChunkLimits,
    Destination,
    Encoding,
    Job,
    Record,
    RunOptions,
    Summary,
    Vocabulary,
    encode_records,
)
from spladert.files.place import Place
from spladert.files.sinks.jsonl import JsonlStream
from spladert.files.sinks.npz import NpzSink

WORDS = ["당뇨병", "치료", "방법", "계약서", "손해배상", "인공지능", "날씨"]


def records(count: int, bad: int | None = None) -> Iterator[Record | BadRecord]:
    for i in range(count):
        text = " ".join(WORDS[: i % 6 + 1])
        yield BadRecord(i + 1, "why", b"raw") if i == bad else Record(i + 1, f"id-{i}", text, size=len(text))


def encode(
    encoder: SparseEncoder, source: Iterator[Record | BadRecord], out: Path, *, skip_errors: bool = False
) -> Summary:
    destination = Destination.of(str(out))
    job = Job.of(encoder, format=destination.format, chunk=ChunkLimits(records=64))
    with destination.open(Vocabulary.of(encoder, tokens=False), print) as sink:
        return encode_records(encoder, source, sink, job, RunOptions(skip_errors=skip_errors))


def whole_of(
    encoder: SparseEncoder,
    source: Iterator[Record | BadRecord],
    errors: int = 0,
    truncated: int = 0,
    resumed: int = 0,
    unread: float = 0.0,
) -> Summary:
    """What a finished job of these records says."""
    texts = [record.text for record in source if isinstance(record, Record)]
    tokens = sum(map(len, encoder.tokenize_batch(texts).input_ids))
    return Summary(len(texts), errors, truncated, resumed, unread=unread, tokens=tokens)


@pytest.mark.parametrize("stop", [0, 63, 64, 130, 199])
@pytest.mark.parametrize("ending", ["jsonl", "npz"])
def test_a_run_resumes_from_any_bad_record(encoder: SparseEncoder, tmp_path: Path, ending: str, stop: int) -> None:
    whole, resumed = tmp_path / f"whole.{ending}", tmp_path / f"resumed.{ending}"
    assert encode(encoder, records(200), whole) == whole_of(encoder, records(200))
    with pytest.raises(InputError, match=f"line {stop + 1}: why"):
        encode(encoder, records(200, bad=stop), resumed)
    assert encode(encoder, records(200), resumed) == whole_of(encoder, records(200), resumed=stop // 64 * 64)
    assert resumed.read_bytes() == whole.read_bytes()


def test_a_kill_while_the_output_is_assembled_loses_nothing(encoder: SparseEncoder, tmp_path: Path) -> None:
    class Killed(BaseException):
        pass

    class KilledSink(NpzSink):
        def assemble(self, folder: Path) -> list[Path]:
            super().assemble(folder)[0].write_bytes(b"half of the out")
            raise Killed

    out = tmp_path / "out.npz"
    job = Job.of(encoder, format="npz", chunk=ChunkLimits(records=64))
    with (
        KilledSink(Place(out, ".npz"), Vocabulary.of(encoder, tokens=False)) as sink,
        pytest.raises(Killed),
    ):
        encode_records(encoder, records(200), sink, job, RunOptions())
    assert not out.exists()
    assert encode(encoder, records(200), out) == whole_of(encoder, records(200), resumed=200)
    encode(encoder, records(200), tmp_path / "whole.npz")
    assert out.read_bytes() == (tmp_path / "whole.npz").read_bytes()


def test_another_input_is_not_gone_on_with(encoder: SparseEncoder, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    with pytest.raises(InputError, match="line 101"):
        encode(encoder, records(200, bad=100), out)
    for other in (itertools.chain(records(1), records(199)), records(50), records(200, bad=3)):
        with pytest.raises(InputError, match=r"the first 64 records are not those that .*out\.jsonl\.partial was made"):
            encode(encoder, other, out, skip_errors=True)
    assert encode(encoder, records(200), out).resumed == 64


def test_skipped_records_are_not_gone_on_with_without_skipping(encoder: SparseEncoder, tmp_path: Path) -> None:
    def broken() -> Iterator[Record | BadRecord]:
        yield from itertools.islice(records(200, bad=3), 64)
        raise OSError("the disk is gone")

    out = tmp_path / "out.jsonl"
    with pytest.raises(OSError, match="the disk is gone"):
        encode(encoder, broken(), out, skip_errors=True)
    with pytest.raises(InputError, match="different skip-errors"):
        encode(encoder, records(200, bad=3), out)
    summary = encode(encoder, records(200, bad=3), out, skip_errors=True)
    assert summary == whole_of(encoder, records(200, bad=3), errors=1, resumed=64)
    assert len((tmp_path / "out.jsonl.errors.jsonl").read_text().splitlines()) == 1


def test_texts_that_are_cut_are_counted_across_runs(encoder: SparseEncoder, tmp_path: Path) -> None:
    def source(bad: int | None = None) -> Iterator[Record | BadRecord]:
        for i, record in enumerate(records(200, bad)):
            too_long = isinstance(record, Record) and i % 10 == 0
            yield Record(i + 1, i, "치료 " * 100) if too_long else record

    out = tmp_path / "out.jsonl"
    with pytest.raises(InputError, match="line 151"):
        encode(encoder, source(bad=150), out)
    summary = encode(encoder, source(), out)
    assert summary == whole_of(encoder, source(), truncated=20, resumed=128, unread=summary.unread)
    assert summary.unread == pytest.approx(1 - 62 / 100, abs=0.01)  # of 100 words, as many are read as tokens fit


def test_no_records_give_an_empty_output(encoder: SparseEncoder, tmp_path: Path) -> None:
    assert encode(encoder, records(0), tmp_path / "out.jsonl") == Summary(0, 0, 0, 0)
    assert (tmp_path / "out.jsonl").read_bytes() == b""


def test_an_error_of_the_reading_comes_after_the_texts_before_it(encoder: SparseEncoder) -> None:
    def broken() -> Iterator[Record | BadRecord]:
        yield from records(70)
        raise InputError("the end is missing")

    stream = io.BytesIO()
    sink = JsonlStream(stream, Vocabulary.of(encoder, tokens=False), print)
    job = Job.of(encoder, format="jsonl", chunk=ChunkLimits(records=64))
    with pytest.raises(InputError, match="the end is missing"):
        encode_records(encoder, broken(), sink, job, RunOptions())
    assert stream.getvalue().count(b"\n") == 70


def test_an_error_of_the_model_is_raised(encoder: SparseEncoder) -> None:
    sink = JsonlStream(io.BytesIO(), Vocabulary.of(encoder, tokens=False), print)
    job = Job.of(encoder, format="jsonl", encoding=Encoding(top_k=10**6))
    with pytest.raises(InputError, match="top_k is 1000000"):
        encode_records(encoder, records(3), sink, job, RunOptions())


class Watched(JsonlStream):
    """A stream that notes how many records were read when it had written so many."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        super().__init__(io.BytesIO(), vocabulary, print)
        self.read = self.written = 0
        self.ahead: list[int] = []

    def count(self, source: Iterator[Record | BadRecord]) -> Iterator[Record | BadRecord]:
        for record in source:
            self.read += 1
            yield record

    def write(self, records: Sequence[Record], vectors: SparseVectors) -> None:
        self.ahead.append(self.read - self.written)
        self.written += len(records)


def test_the_input_is_read_as_far_as_is_needed(encoder: SparseEncoder) -> None:
    sink = Watched(Vocabulary.of(encoder, tokens=False))
    job = Job.of(encoder, format="jsonl", chunk=ChunkLimits(records=8))
    encode_records(encoder, sink.count(records(400)), sink, job, RunOptions())
    assert sink.written == 400
    # Of eight records each: one chunk is written, one waits for that, one is encoded, one waits, one is read, and its
    # last record's successor is.
    assert max(sink.ahead) <= 5 * 8 + 1


def test_progress_is_told_after_each_chunk(encoder: SparseEncoder) -> None:
    sink = JsonlStream(io.BytesIO(), Vocabulary.of(encoder, tokens=False), print)
    job = Job.of(encoder, format="jsonl", chunk=ChunkLimits(records=64))
    told: list[tuple[int, int]] = []
    encode_records(
        encoder, records(150), sink, job, RunOptions(), position=lambda: 7, advance=lambda *done: told.append(done)
    )
    assert told == [(64, 7), (128, 7), (150, 7)]
