from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from spladert import SparseVectors
from spladert.files import BadRecord, Record, Settings, Summary, encode_to_file
from spladert.files.formats import OutputFormat
from spladert.files.job import read_chunks

VOCABULARY = 1000


class Lengths:
    """An encoder that needs no model: a text's vector says its length."""

    device = "cpu"
    variant = SimpleNamespace(files=[SimpleNamespace(sha256="graph")])
    manifest = SimpleNamespace(tokenizer=SimpleNamespace(sha256="tokenizer"), vocabulary_size=VOCABULARY)

    def encode(self, texts: list[str], *, batch_size: int, top_k: int | None) -> SparseVectors:
        lengths = np.array([len(text) for text in texts])
        return SparseVectors(
            indptr=np.arange(0, 40 * len(texts) + 1, 40),
            indices=((np.repeat(lengths, 40) + np.tile(np.arange(40), len(texts))) % VOCABULARY).astype(np.int32),
            values=np.tile(np.arange(40, 0, -1), len(texts)).astype(np.float32),
            vocabulary_size=VOCABULARY,
        )


def encode(records: Iterator[Record | BadRecord], out: Path, settings: Settings) -> Summary:
    return encode_to_file(Lengths(), records, out, settings)  # type: ignore[arg-type]


def texts(count: int, bad: int | None = None) -> Iterator[Record | BadRecord]:
    for i in range(count):
        yield BadRecord(i + 1, "why", b"raw") if i == bad else Record(i + 1, f"id-{i}", "x" * (i % 50))


@pytest.mark.parametrize("output_format", ["jsonl", "parquet", "npz"])
def test_memory_does_not_grow_with_the_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output_format: OutputFormat
) -> None:
    if output_format == "parquet":
        pytest.importorskip("pyarrow")
    monkeypatch.setattr("spladert.files.job.CHUNK", 64)
    monkeypatch.setattr("spladert.files.formats.ROWS_PER_GROUP", 64)
    monkeypatch.setattr("spladert.files.formats.COPY_BYTES", 4096)

    def peak(count: int) -> int:
        tracemalloc.start()
        encode(texts(count), tmp_path / f"{count}.{output_format}", Settings(output_format))
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(64)  # imports and caches
    assert peak(4096) < 1.3 * peak(256) + 100_000  # 16 times the input: 1.3 MB of vectors against 20 MB


@pytest.mark.parametrize("stop", [0, 63, 64, 130, 199])
@pytest.mark.parametrize("output_format", ["jsonl", "npz"])
def test_a_run_resumes_from_any_bad_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output_format: OutputFormat, stop: int
) -> None:
    monkeypatch.setattr("spladert.files.job.CHUNK", 64)
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    assert encode(texts(200), whole, Settings(output_format)) == Summary(200, 0, 0)
    with pytest.raises(ValueError, match=f"line {stop + 1}: why"):
        encode(texts(200, bad=stop), resumed, Settings(output_format))
    assert encode(texts(200), resumed, Settings(output_format)) == Summary(200, 0, stop // 64 * 64)
    assert resumed.read_bytes() == whole.read_bytes()


def test_a_kill_while_the_output_is_assembled_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        pass

    def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("spladert.files.formats.np.lib.format.write_array_header_1_0", killed)
        with pytest.raises(Killed):
            encode(texts(200), tmp_path / "out.npz", Settings("npz"))
    assert encode(texts(200), tmp_path / "out.npz", Settings("npz")) == Summary(200, 0, 200)
    encode(texts(200), tmp_path / "whole.npz", Settings("npz"))
    assert (tmp_path / "out.npz").read_bytes() == (tmp_path / "whole.npz").read_bytes()


def test_an_altered_spool_starts_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spladert.files.job.CHUNK", 64)
    with pytest.raises(ValueError, match="line 151"):
        encode(texts(200, bad=150), tmp_path / "out", Settings())
    (tmp_path / "out.partial" / "vectors.jsonl").write_bytes(b"short")
    assert encode(texts(200), tmp_path / "out", Settings()).resumed == 0
    assert len((tmp_path / "out").read_text().splitlines()) == 200


def test_no_records_give_an_empty_output(tmp_path: Path) -> None:
    assert encode(texts(0), tmp_path / "out", Settings()) == Summary(0, 0, 0)
    assert (tmp_path / "out").read_bytes() == b""


def test_chunks_end_at_a_bad_record_unless_those_are_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spladert.files.job.CHUNK", 4)
    assert [len(chunk.all) for chunk in read_chunks(texts(10, bad=5), skip_errors=True)] == [4, 4, 2]
    first, second, *_ = read_chunks(texts(10, bad=5), skip_errors=False)
    assert (len(first.all), len(second.good), len(second.bad)) == (4, 1, 1)


def test_long_texts_make_short_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spladert.files.job.CHUNK_CHARACTERS", 10)
    records = [Record(n, n, "x" * length) for n, length in enumerate([4, 4, 4, 30, 1, 1])]
    assert [len(chunk.all) for chunk in read_chunks(records, skip_errors=False)] == [3, 1, 2]
