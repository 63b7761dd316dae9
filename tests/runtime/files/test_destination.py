from __future__ import annotations

import gzip
import io
import os
import stat
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from spladert import InputError
from spladert.files import BadRecord, Destination, Job, Progress, Vocabulary
from support.vectors import records_of, sparse_vectors

LINE = b'{"id":1,"indices":[5],"values":[2.5]}\n'


def write(destination: Destination, bad: list[BadRecord] | None = None) -> list[BadRecord]:
    """Write one record, and reject `bad` ones; gives those that were reported."""
    skipped: list[BadRecord] = []
    job = Job("graph", (), "tokenizer", "cpu", destination.format, False)
    with destination.open(Vocabulary(100), skipped.append) as sink:
        sink.resume(job)
        sink.write(records_of([1]), sparse_vectors([{5: 2.5}]))
        sink.reject(bad or [])
        sink.commit(Progress(1 + len(bad or []), len(bad or []), 0, "digest"))
        sink.finish()
    return skipped


@pytest.mark.parametrize(
    ("name", "format"),
    [
        ("a.jsonl", "jsonl"),
        ("a.b.NDJSON", "jsonl"),
        ("a.jsonl.gz", "jsonl.gz"),
        ("a.JSONL.ZST", "jsonl.zst"),
        ("a.parquet", "parquet"),
        ("a.npz", "npz"),
    ],
)
def test_the_name_of_a_file_is_its_format(tmp_path: Path, name: str, format: str) -> None:
    destination = Destination.of(str(tmp_path / name))
    assert (destination.format, destination.place is not None) == (format, True)
    assert Destination.of(str(tmp_path / name), format) == destination
    with pytest.raises(InputError, match=f"{name} is {format} by its name, not"):
        Destination.of(str(tmp_path / name), "npz" if format != "npz" else "jsonl")


@pytest.mark.parametrize("ending", [".csv", ".json", ".npy", ".pq", ".gz", ".txt.gz", ".parquet.gz", ".xyz", ""])
@pytest.mark.parametrize("format", [None, "jsonl"])
def test_other_endings_are_refused_by_name(tmp_path: Path, ending: str, format: str | None) -> None:
    with pytest.raises(InputError, match=rf"the ending '{Path('a' + ending).suffix}' .* choose one of \.jsonl"):
        Destination.of(str(tmp_path / f"a{ending}"), format)


def test_a_file_that_is_there_needs_overwrite_and_keeps_its_mode(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    out.write_text("precious")
    out.chmod(0o600)
    with pytest.raises(InputError, match="exists already"):
        Destination.of(str(out))
    write(Destination.of(str(out), overwrite=True))
    assert out.read_bytes() == LINE
    assert stat.S_IMODE(out.stat().st_mode) == 0o600


def test_a_new_file_has_the_mode_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("")
    for name in ("a.jsonl", "a.npz", "a.jsonl.gz"):
        write(Destination.of(str(tmp_path / name)))
        assert (tmp_path / name).stat().st_mode == (tmp_path / "other").stat().st_mode


def test_a_link_is_followed_and_stays(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    target, link = tmp_path / "real" / "out.jsonl", tmp_path / "link.jsonl"
    link.symlink_to(target)
    for _ in range(2):  # a link to nothing yet, and then to a file
        write(Destination.of(str(link), overwrite=True))
        assert link.is_symlink()
        assert target.read_bytes() == LINE
    with pytest.raises(InputError, match="exists already"):
        Destination.of(str(link))


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize(
    ("format", "expected"), [(None, LINE), ("jsonl.gz", LINE), ("npz", b"PK\x03\x04"), ("parquet", b"PAR1")]
)
def test_a_pipe_is_written_to_and_stays(tmp_path: Path, format: str | None, expected: bytes, overwrite: bool) -> None:
    if format == "parquet":
        pytest.importorskip("pyarrow")
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(fifo.read_bytes()))
    reader.start()
    skipped = write(Destination.of(str(fifo), format, overwrite=overwrite), bad=[BadRecord(2, "why", b"\xff")])
    reader.join(10)
    content = gzip.decompress(read[0]) if format == "jsonl.gz" else read[0]
    assert content.startswith(expected)
    assert skipped == [BadRecord(2, "why", b"\xff")]
    assert stat.S_ISFIFO(fifo.stat().st_mode)
    assert list(tmp_path.iterdir()) == [fifo]


def test_a_device_is_written_to_and_stays(tmp_path: Path) -> None:
    null = tmp_path / "null"
    null.symlink_to("/dev/null")
    for name in ("/dev/null", str(null)):
        write(Destination.of(name, overwrite=True))
        assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_a_descriptor_is_written_to_where_it_is(tmp_path: Path) -> None:
    with (tmp_path / "out.bin").open("w+b") as stream:
        stream.write(b"before\n")
        stream.flush()
        write(Destination.of(f"/dev/fd/{stream.fileno()}", overwrite=True))
        assert (tmp_path / "out.bin").read_bytes() == b"before\n" + LINE
    with pytest.raises(InputError, match="/dev/fd/9999 cannot be written"):
        write(Destination.of("/dev/fd/9999"))


@pytest.mark.parametrize("name", ["-", "/dev/stdout", "/dev/fd/1"])
def test_standard_output_is_a_stream(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO()))
    write(Destination.of(name))
    assert sys.stdout.buffer.getvalue() == LINE  # type: ignore[attr-defined]
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(InputError, match="standard output is closed"):
        write(Destination.of(name))


@pytest.mark.parametrize("name", ["parts/", "there", "there/"])
@pytest.mark.parametrize(("format", "ending"), [(None, ".parquet"), ("npz", ".npz"), ("jsonl.gz", ".jsonl.gz")])
def test_a_folder_gets_parts(tmp_path: Path, name: str, format: str | None, ending: str) -> None:
    pytest.importorskip("pyarrow")
    (tmp_path / "there").mkdir(mode=0o750)
    folder = tmp_path / name.rstrip("/")
    destination = Destination.of(f"{tmp_path}/{name}", format)
    write(destination, bad=[BadRecord(2, "why", b"raw")])
    assert [path.name for path in folder.iterdir()] == [f"part-00000{ending}"]
    assert (tmp_path / f"{folder.name}.errors.jsonl").exists()
    assert stat.S_IMODE((tmp_path / "there").stat().st_mode) == 0o750
    with pytest.raises(InputError, match="has files already"):
        Destination.of(f"{tmp_path}/{name}", format)


def test_overwriting_a_folder_replaces_its_parts_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    for name in ("part-00000.parquet", "part-00007.jsonl", "readme", "part-1.txt"):
        (folder / name).write_text("old")
    write(Destination.of(str(folder), "npz", overwrite=True))
    assert sorted(path.name for path in folder.iterdir()) == ["part-00000.npz", "part-1.txt", "readme"]
    with np.load(folder / "part-00000.npz") as arrays:
        assert arrays["ids"].tolist() == [1]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere/out.jsonl", "nowhere is not a folder; create it first"),
        ("nowhere/out/", "nowhere is not a folder"),
        ("file.jsonl/", "is a file, and cannot be a folder"),
        ("file.jsonl/a.jsonl", "file.jsonl is not a folder|Not a directory"),
        ("loop.jsonl", "cannot be written: "),
        ("a\0b.jsonl", "cannot be written: embedded null"),
        ("x" * 5000 + ".jsonl", "File name too long"),
    ],
)
def test_what_cannot_be_written_is_refused_first(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "file.jsonl").write_text("")
    (tmp_path / "loop.jsonl").symlink_to("loop.jsonl")
    with pytest.raises(InputError, match=message):
        Destination.of(f"{tmp_path}/{name}", overwrite=True)


def test_the_root_is_no_folder_of_parts() -> None:
    with pytest.raises(InputError, match="/ cannot be a folder of parts"):
        Destination.of("/", overwrite=True)


def test_the_current_folder_may_get_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    write(Destination.of(".", "jsonl"), bad=[BadRecord(2, "why", b"")])
    assert (tmp_path / "here" / "part-00000.jsonl").read_bytes() == LINE
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here", "here.errors.jsonl"]


def test_the_input_is_not_replaced(tmp_path: Path) -> None:
    out = tmp_path / "a.jsonl"
    out.write_text("")
    link = tmp_path / "link.txt"
    link.symlink_to(out)
    destination = Destination.of(str(out), overwrite=True)
    assert destination.replaces(str(out))
    assert destination.replaces(str(link))
    assert not destination.replaces("-")
    assert not destination.replaces(str(tmp_path / "gone"))
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "part-00000.jsonl").write_text("")
    folder = Destination.of(str(tmp_path / "parts"), overwrite=True)
    assert folder.replaces(str(tmp_path / "parts" / "part-00000.jsonl"))
    assert not folder.replaces(str(out))
