"""The folder that a bundle becomes: made beside its place, moved there whole."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import file_digest
from pathlib import Path

from filelock import FileLock, Timeout

from spladert import ExportError
from spladert.bundle import FILE_NAME, BundleFile


@contextmanager
def atomic_folder(out: Path, *, overwrite: bool) -> Iterator[Path]:
    """A folder to fill, which becomes `out` when the block ends well; else nothing is left and `out` is as it was.

    Raises:
        ExportError: `out` is taken, and is not a bundle that may be overwritten.
    """
    try:
        out = out.resolve()  # where `out` is a link, the folder it names is made or replaced, and the link stays
    except (OSError, RuntimeError) as error:  # of a link to itself
        raise ExportError(f"{out} cannot be made a folder ({error}); choose another place") from None
    _refuse_taken(out, overwrite)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ExportError(f"{out.parent} cannot be made a folder ({error.strerror}); choose another place") from None
    with _workshop(out) as folder:
        making = folder / out.name
        making.mkdir()
        yield making
        if not out.exists():
            making.rename(out)
            return
        old = folder / "old"
        out.rename(old)
        try:
            making.rename(out)
        except OSError:
            old.rename(out)
            raise


@contextmanager
def _workshop(out: Path) -> Iterator[Path]:
    """An empty folder beside `out`, of one process alone; what a killed export left there is cleared first.

    Raises:
        ExportError: another process is exporting to `out`.
    """
    folder = out.parent / f".{out.name}.exporting"
    folder.mkdir(exist_ok=True)
    lock = FileLock(folder / "lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise ExportError(f"another export to {out} is running; wait for it, or choose another folder") from None
    try:
        for left in folder.iterdir():
            if left.is_dir():
                shutil.rmtree(left)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        lock.release()


def _refuse_taken(out: Path, overwrite: bool) -> None:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not overwrite:
        raise ExportError(f"{out} exists; choose another folder, or replace the bundle there with --overwrite")
    if not (out / FILE_NAME).is_file():
        raise ExportError(f"{out} is not a bundle, so it is not overwritten; choose another folder")


def describe_file(path: Path) -> BundleFile:
    with path.open("rb") as stream:
        return BundleFile(path.name, path.stat().st_size, file_digest(stream, "sha256").hexdigest())
