from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from spladert import InputError
from spladert.files import BadRecord, Encoding, Job, Progress, Vocabulary
from spladert.files.place import Place
from spladert.files.sinks.jsonl import JsonlSink
from support.vectors import records_of, sparse_vectors


def sink_of(path: Path, *, overwrite: bool = False) -> JsonlSink:
    return JsonlSink(Place(path, ".jsonl", overwrite=overwrite), Vocabulary(100))


def one_chunk(path: Path, job: Job, *, errors: int = 0) -> None:
    """A run that stops after its first commit, in the middle of the next chunk."""
    with sink_of(path) as sink:
        assert sink.resume(job) == Progress()
        sink.write(records_of([1]), sparse_vectors([{1: 1.0}]))
        sink.reject([BadRecord(2, "why", b"raw")] * errors)
        sink.commit(Progress(1 + errors, errors, 0, "digest"))
        sink.write(records_of([2]), sparse_vectors([{2: 1.0}]))


def test_what_was_written_after_the_last_commit_is_cut_off(tmp_path: Path, job: Job) -> None:
    out = tmp_path / "out.jsonl"
    one_chunk(out, job)
    assert not out.exists()
    with sink_of(out) as sink:
        assert sink.resume(job) == Progress(1, 0, 0, "digest")
        sink.write(records_of([3]), sparse_vectors([{3: 1.0}]))
        sink.commit(Progress(2, 0, 0, "digest"))
        sink.finish()
    assert [json.loads(line)["id"] for line in out.read_text().splitlines()] == [1, 3]
    assert [path.name for path in tmp_path.iterdir()] == ["out.jsonl"]


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"model": "other"}, "model"),
        ({"weights": ("other",)}, "weights"),
        ({"tokenizer": "other"}, "tokenizer"),
        ({"device": "cuda"}, "device"),
        ({"encoding": Encoding(top_k=5)}, "top_k"),
        ({"encoding": Encoding(split_special_tokens=True)}, "split_special_tokens"),
    ],
)
def test_another_job_does_not_go_on(tmp_path: Path, job: Job, change: dict[str, Any], name: str) -> None:
    one_chunk(tmp_path / "out.jsonl", job)
    other = dataclasses.replace(job, **change)
    with (
        sink_of(tmp_path / "out.jsonl") as sink,
        pytest.raises(InputError, match=f"an interrupted run with a different {name}: run"),
    ):
        sink.resume(other)
    with sink_of(tmp_path / "out.jsonl") as sink:
        assert sink.resume(job).records == 1


def test_skipped_records_are_in_a_file_of_their_own(tmp_path: Path, job: Job) -> None:
    out = tmp_path / "out.jsonl"
    one_chunk(out, job, errors=2)
    with sink_of(out) as sink:
        sink.resume(job)
        sink.finish()
    errors = (tmp_path / "out.jsonl.errors.jsonl").read_bytes().splitlines()
    assert [BadRecord.from_json(line) for line in errors] == [BadRecord(2, "why", b"raw")] * 2
    with sink_of(tmp_path / "out.jsonl") as sink, pytest.raises(InputError, match=r"out\.jsonl\.errors\.jsonl exists"):
        sink.resume(job)


def test_a_second_process_is_refused(tmp_path: Path, job: Job) -> None:
    with (
        sink_of(tmp_path / "out.jsonl"),
        pytest.raises(InputError, match="another process is writing"),
        sink_of(tmp_path / "out.jsonl"),
    ):
        pass


@pytest.mark.parametrize("state", ["", "[" * 100_000, "[]", "{}", '{"job": 1, "progress": {}, "sizes": 3}'])
def test_a_state_that_cannot_be_read_starts_over(tmp_path: Path, job: Job, state: str) -> None:
    one_chunk(tmp_path / "out.jsonl", job)
    (tmp_path / "out.jsonl.partial" / "state.json").write_text(state)
    with sink_of(tmp_path / "out.jsonl") as sink:
        assert sink.resume(job) == Progress()


def test_a_spool_that_lost_bytes_starts_over(tmp_path: Path, job: Job) -> None:
    one_chunk(tmp_path / "out.jsonl", job)
    (tmp_path / "out.jsonl.partial" / "vectors.jsonl").write_bytes(b"short")
    with sink_of(tmp_path / "out.jsonl") as sink:
        assert sink.resume(job) == Progress()


def test_a_run_that_did_nothing_leaves_nothing_of_its_own(tmp_path: Path, job: Job) -> None:
    (tmp_path / "out.jsonl.partial").mkdir()
    (tmp_path / "out.jsonl.partial" / "mine").write_text("precious")
    with sink_of(tmp_path / "out.jsonl") as sink:
        sink.resume(job)
    assert [path.name for path in tmp_path.rglob("*")] == ["out.jsonl.partial", "mine"]


@pytest.mark.parametrize("raw", [b"a \xff b", "가\ud800".encode("utf-8", "surrogatepass"), b"plain"])
def test_bad_bytes_come_back(raw: bytes) -> None:
    assert BadRecord.from_json(BadRecord(7, "why", raw).to_json()) == BadRecord(7, "why", raw)
