"""The folder that a bundle becomes: made beside its place, moved there whole."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import file_digest
from pathlib import Path

from spladert import ExportError
from spladert.manifest import FILE_NAME, BundleFile


@contextmanager
def atomic_folder(out: Path, *, overwrite: bool) -> Iterator[Path]:
    """A folder to fill, which becomes `out` when the block ends well; else nothing is left and `out` is as it was.

    Raises:
        ExportError: `out` is taken, and is not a bundle that may be overwritten.
    """
    out = out.resolve()  # where `out` is a link, the folder it names is made or replaced, and the link stays
    _refuse_taken(out, overwrite)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ExportError(f"{out.parent} cannot be made a folder ({error.strerror}); choose another place") from None
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as folder:
        making = Path(folder) / out.name
        making.mkdir()
        yield making
        if not out.exists():
            making.rename(out)
            return
        old = Path(folder) / "old"
        out.rename(old)
        try:
            making.rename(out)
        except OSError:
            old.rename(out)
            raise
        shutil.rmtree(old, ignore_errors=True)


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
