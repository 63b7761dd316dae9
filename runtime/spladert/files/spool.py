"""Append-only files with a state record: what is recorded survives any kill, what is not is cut off on return."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ..errors import InputError
from .job import Progress

STATE = "state.json"
LOCK = "lock"
ASSEMBLED = "assembled"


@dataclass(frozen=True)
class State:
    """What is recorded of a job.

    Attributes:
        job: what decides the output besides the input; another job cannot go on from here.
        progress: how far it is.
        sizes: bytes of each spool file that belong to that.
    """

    job: dict[str, Any]
    progress: Progress
    sizes: dict[str, int]


class Spool:
    """The spool files of one job in a folder of its own, locked against a second process.

    Use as a context manager: leaving it keeps the files, unless there is no state to go on from.

    Attributes:
        folder: that folder.
    """

    def __init__(self, folder: Path, files: Sequence[str]) -> None:
        self.folder = folder
        self._files = tuple(files)
        self._lock = FileLock(folder / LOCK)

    def __enter__(self) -> Spool:
        self.folder.mkdir(exist_ok=True)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise InputError(
                f"another process is writing {self.folder}; wait for it, or choose another output"
            ) from None
        return self

    def __exit__(self, *_: object) -> None:
        if self.saved() is None:
            self.remove()
        self._lock.release()

    def saved(self) -> State | None:
        """The state of an earlier run whose files are all there, None if there is none to go on from."""
        try:
            content = json.loads((self.folder / STATE).read_text(encoding="utf-8"))
            state = State(content["job"], Progress(**content["progress"]), content["sizes"])
            whole = all((self.folder / name).stat().st_size >= size for name, size in state.sizes.items())
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return None
        return state if whole and state.progress.records > 0 else None

    def restore(self, sizes: Mapping[str, int]) -> None:
        """Cut each file to its size in `sizes`; one that has none there becomes empty."""
        for name in self._files:
            with (self.folder / name).open("ab") as stream:
                stream.truncate(sizes.get(name, 0))

    def append(self, parts: Mapping[str, bytes]) -> None:
        for name, content in parts.items():
            path = self.folder / name
            with named_errors(path), path.open("ab") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())

    def save(self, job: dict[str, Any], progress: Progress) -> None:
        """Record how far the job is in one step: a kill leaves the old state or the new one."""
        sizes = {name: (self.folder / name).stat().st_size for name in self._files}
        write_whole(self.folder / STATE, json.dumps(asdict(State(job, progress, sizes))).encode())

    def assembly(self) -> Path:
        """An empty folder for the files of the output."""
        folder = self.folder / ASSEMBLED
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return folder

    def remove(self) -> None:
        """Delete the spool's files, and the folder unless something else is in it."""
        self._lock.release()
        for name in (STATE, *self._files, LOCK):
            (self.folder / name).unlink(missing_ok=True)
        shutil.rmtree(self.folder / ASSEMBLED, ignore_errors=True)
        with suppress(OSError):
            self.folder.rmdir()


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that it is there with all its content or not at all."""
    partial = path.with_name(path.name + ".new")
    with named_errors(partial), partial.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    partial.replace(path)


@contextmanager
def named_errors(path: Path) -> Iterator[None]:
    """Names the file in what the system says of a write, which does not: of a full disk say."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from None
