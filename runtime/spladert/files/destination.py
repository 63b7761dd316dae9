"""Where an output goes, and as what: a file (its name says the format), a folder of parts, or a stream.

All that can be refused is refused here, before any work is done.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

from ..errors import InputError
from .place import ROWS_PER_PART, Place
from .records import BadRecord
from .sinks import FORMATS, Sink, Vocabulary

STREAM_FORMAT = "jsonl"
FOLDER_FORMAT = "parquet"
_DESCRIPTOR = re.compile(r"/(?:dev|proc/self)/fd/([0-9]+)\Z|/dev/(stdout)\Z|/dev/(stderr)\Z")


@dataclass(frozen=True)
class Destination:
    """Where an output goes.

    Attributes:
        name: what the user called it.
        format: name of the format, of `FORMATS`.
        place: the file or folder; None for a stream.
    """

    name: str
    format: str
    place: Place | None = None

    @classmethod
    def of(cls, output: str, format: str | None = None, *, overwrite: bool = False) -> Destination:
        """What `output` means.

        Args:
            output: a file's name, whose ending is its format; a folder, or a name that ends in a slash, for parts;
                a pipe or device; or `-` for standard output.
            format: for anything but a file, JSONL if None, and parquet for a folder.
            overwrite: replace a file or a folder's parts. What is written to a pipe or device replaces nothing.

        Raises:
            InputError: it cannot be written, or is there already.
        """
        if output == "-" or _DESCRIPTOR.match(output):
            return cls(output, format or STREAM_FORMAT)
        path, kind = Path(output), None
        try:
            path = path.resolve() if path.is_symlink() else path
            kind = path.stat().st_mode
        except FileNotFoundError:
            pass
        except (OSError, RuntimeError, ValueError) as error:
            raise InputError(f"{output} cannot be written: {getattr(error, 'strerror', None) or error}") from None
        if kind is not None and (stat.S_ISFIFO(kind) or stat.S_ISCHR(kind)):
            return cls(output, format or STREAM_FORMAT)
        if not os.path.isdir(os.path.dirname(os.path.abspath(path))):
            raise InputError(f"{path.parent} is not a folder; create it first")
        if output.endswith("/") or (kind is not None and stat.S_ISDIR(kind)):
            return cls(output, format or FOLDER_FORMAT, _folder(path, format or FOLDER_FORMAT, kind, overwrite))
        if kind is not None and not stat.S_ISREG(kind):
            raise InputError(
                f"{output} is neither a file nor a folder, pipe or character device; choose another output"
            )
        by_name = _format_of(path, format)
        if format not in (None, by_name):
            raise InputError(f"{output} is {by_name} by its name, not {format}: change the name, or leave --format out")
        if kind is not None and not overwrite:
            raise InputError(f"{output} exists already; choose another name, or replace it with --overwrite")
        return cls(output, by_name, Place(path, FORMATS[by_name].endings[0], overwrite=overwrite))

    def replaces(self, path: str) -> bool:
        """Whether the file at `path` would be replaced."""
        if self.place is None:
            return False
        replaced = [self.place.path] if self.place.rows_per_part is None else self.place.parts()
        return any(_same(path, other) for other in replaced)

    @contextmanager
    def open(self, vocabulary: Vocabulary, skipped: Callable[[BadRecord], None]) -> Iterator[Sink]:
        """The sink of this destination.

        Args:
            vocabulary: how entries are written.
            skipped: called with bad records that are skipped, where there is no place for a file of them.

        Raises:
            InputError: another process is writing it; or a stream cannot be opened.
        """
        made = FORMATS[self.format]
        if self.place is not None:
            with made.sink(self.place, vocabulary) as sink:
                yield sink
            return
        with _stream(self.name) as stream:
            if made.stream is not None:
                yield made.stream(stream, vocabulary, skipped)
                return
            with TemporaryDirectory(prefix="spladert-") as folder:
                place = Place(Path(folder) / "whole", made.endings[0])
                with made.sink(place, vocabulary) as sink:
                    yield sink
                if place.errors.exists():
                    for line in place.errors.read_bytes().splitlines():
                        skipped(BadRecord.from_json(line))
                with place.path.open("rb") as whole:
                    shutil.copyfileobj(whole, stream)
                stream.flush()


def _format_of(path: Path, asked: str | None) -> str:
    name = path.name.lower()
    if asked is not None and FORMATS[asked].also and name.endswith(FORMATS[asked].also):
        return asked
    endings = {ending: known for known, row in FORMATS.items() for ending in row.endings}
    found = [ending for ending in endings if name.endswith(ending)]
    if found:
        return endings[max(found, key=len)]
    raise InputError(f"the ending {path.suffix!r} of {path} says no output format; choose one of {', '.join(endings)}")


def _folder(path: Path, format: str, kind: int | None, overwrite: bool) -> Place:
    if kind is not None and not stat.S_ISDIR(kind):
        raise InputError(f"{path} is a file, and cannot be a folder of parts; leave the slash out")
    absolute = Path(os.path.abspath(path))
    if not absolute.name:
        raise InputError(f"{absolute} cannot be a folder of parts; name one in it")
    place = Place(absolute, FORMATS[format].endings[0], ROWS_PER_PART, overwrite)
    if kind is not None and not overwrite and any(other != place.partial for other in absolute.iterdir()):
        raise InputError(f"{path} has files already; choose another folder, or replace its parts with --overwrite")
    return place


def _same(path: str, other: Path) -> bool:
    try:
        return other.samefile(path)
    except (OSError, ValueError):
        return False


@contextmanager
def _stream(name: str) -> Iterator[IO[bytes]]:
    descriptor = _DESCRIPTOR.match(name)
    if name == "-" or (descriptor and (descriptor[1] == "1" or descriptor[2])):
        if sys.stdout is None:
            raise InputError("standard output is closed; name a file with --output")
        yield sys.stdout.buffer
        return
    try:
        number = os.dup(int(descriptor[1] or 2)) if descriptor else os.open(name, os.O_WRONLY)
    except OSError as error:
        raise InputError(f"{name} cannot be written: {error.strerror}") from None
    with os.fdopen(number, "wb") as stream:
        yield stream
