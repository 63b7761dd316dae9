"""Append-only files with a state record: what is recorded survives any kill, what is not is cut off on return."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ..errors import InputError
from .formats import WHOLE

STATE = "state.json"
LOCK = "lock"


@dataclass(frozen=True)
class State:
    """How far a job is.

    Attributes:
        job: what decides the output besides the input; another job cannot go on from here.
        records: records of the input that are done, bad ones included.
        digest: digest of those records.
        errors: how many of them were bad.
        sizes: bytes of each spool file that belong to them.
    """

    job: dict[str, Any]
    records: int
    digest: str
    errors: int
    sizes: dict[str, int]


class Spool:
    """The spool files of one job in a folder of its own, locked against a second process.

    Use as a context manager: leaving it keeps the files, unless there is no state to go on from.
    """

    def __init__(self, folder: Path, files: Sequence[str]) -> None:
        self.folder = folder
        self.files = tuple(files)
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
            state = State(**json.loads((self.folder / STATE).read_text(encoding="utf-8")))
            whole = all((self.folder / name).stat().st_size >= size for name, size in state.sizes.items())
        except (OSError, ValueError, TypeError):
            return None
        return state if whole and state.records > 0 else None

    def restore(self, sizes: Mapping[str, int]) -> None:
        """Cut each file to its size in `sizes`; one that has none there becomes empty."""
        for name in self.files:
            with (self.folder / name).open("ab") as stream:
                stream.truncate(sizes.get(name, 0))

    def append(self, parts: Mapping[str, bytes]) -> None:
        for name, content in parts.items():
            with (self.folder / name).open("ab") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())

    def sizes(self) -> dict[str, int]:
        return {name: (self.folder / name).stat().st_size for name in self.files}

    def save(self, state: State) -> None:
        """Record the state in one step: a kill leaves the old one or the new one."""
        write_whole(self.folder / STATE, json.dumps(asdict(state)).encode())

    def remove(self) -> None:
        """Delete the spool's files, and the folder unless something else is in it."""
        self._lock.release()
        for name in (STATE, *self.files, WHOLE, LOCK):
            (self.folder / name).unlink(missing_ok=True)
        with suppress(OSError):
            self.folder.rmdir()


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that it is there with all its content or not at all."""
    partial = path.with_name(path.name + ".new")
    with partial.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    partial.replace(path)
