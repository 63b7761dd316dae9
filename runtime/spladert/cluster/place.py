"""Folders and files by path or URL, through pyarrow's file systems: local, s3://, gs://, hdfs://."""

from __future__ import annotations

import functools
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from ..errors import InputError
from ..files.parquet import require_pyarrow

COPY_BYTES = 2**22


@dataclass(frozen=True)
class Place:
    """A file or a folder.

    Attributes:
        url: as it was given; another process opens it again by it.
        path: within its file system.
    """

    url: str
    path: str

    @classmethod
    def of(cls, url: str) -> Place:
        """
        Raises:
            InputError: the URL is of no file system that pyarrow knows, or of one that cannot be reached.
            DependencyError: pyarrow is not installed.
        """
        if "://" not in url:
            url = str(Path(url).absolute())
        return cls(url, _file_system(url)[1])

    def __truediv__(self, name: str) -> Place:
        return Place(self.url, f"{self.path}/{name}")

    def __str__(self) -> str:
        return f"{self.url.partition('://')[0]}://{self.path}" if "://" in self.url else self.path

    @property
    def files(self) -> Any:
        """Its pyarrow.fs.FileSystem."""
        return _file_system(self.url)[0]

    @property
    def is_local(self) -> bool:
        return bool(self.files.type_name == "local")

    def below(self) -> list[tuple[str, int]]:
        """(path, bytes) of the file that this is, or of all files in the folder, by path; none where nothing is.

        Raises:
            InputError: it is a device or the like, or cannot be read.
        """
        fs = require_fs()
        with _told(self):
            info = self.files.get_file_info(self.path)
            if info.type == fs.FileType.File:
                return [(info.path, info.size)]
            if info.type == fs.FileType.NotFound:
                return []
            if info.type != fs.FileType.Directory:
                raise InputError(f"{self} is neither a file nor a folder; take another place")
            found = self.files.get_file_info(fs.FileSelector(self.path, recursive=True))
        return sorted((info.path, info.size) for info in found if info.type == fs.FileType.File)

    def read(self) -> bytes | None:
        """The content of a file, None where there is none."""
        try:
            with _told(self), self.files.open_input_stream(self.path, compression=None) as stream:
                return cast("bytes", stream.read())
        except FileNotFoundError:
            return None

    def read_json(self) -> Any:
        """The content of a file of JSON, None where there is none.

        Raises:
            InputError: it holds something else.
        """
        content = self.read()
        try:
            return None if content is None else json.loads(content)
        except ValueError as error:
            raise InputError(f"{self} is damaged ({error}): --overwrite starts over, or take another folder") from None

    def write(self, content: bytes) -> None:
        """Write a file that others see whole or not at all."""
        with _told(self):
            if not self.is_local:  # an object appears when its upload is complete
                with self.files.open_output_stream(self.path, compression=None) as stream:
                    stream.write(content)
                return
            beside = self._beside()
            beside.write_bytes(content)
            os.replace(beside, self.path)

    def write_json(self, value: object) -> None:
        self.write(json.dumps(value, ensure_ascii=False, indent=1).encode("utf-8", "backslashreplace"))

    def take(self, file: Path) -> None:
        """Copy a finished local file here, so that others see it whole or not at all."""
        with _told(self):
            if self.is_local:
                beside = self._beside()
                shutil.copyfile(file, beside)
                os.replace(beside, self.path)
                return
            with file.open("rb") as source, self.files.open_output_stream(self.path, compression=None) as stream:
                shutil.copyfileobj(source, stream, COPY_BYTES)

    def delete(self) -> None:
        """Delete a file, or a folder with all that is in it, if it is there."""
        fs = require_fs()
        with _told(self):
            kind = self.files.get_file_info(self.path).type
            if kind == fs.FileType.Directory:
                self.files.delete_dir(self.path)
            elif kind == fs.FileType.File:
                self.files.delete_file(self.path)

    def _beside(self) -> Path:
        target = Path(self.path)
        target.parent.mkdir(parents=True, exist_ok=True)
        return target.with_name(f".{target.name}.{os.uname().nodename}.{os.getpid()}")


@contextmanager
def _told(place: Place) -> Iterator[None]:
    """Failures of a file system as an InputError that names the place."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise InputError(f"{place} cannot be read or written: {error}") from None


def require_fs() -> Any:
    """pyarrow.fs.

    Raises:
        DependencyError: pyarrow is not installed.
    """
    require_pyarrow()
    import pyarrow.fs

    return pyarrow.fs


@functools.lru_cache(maxsize=8)  # a client of a remote one is dear
def _file_system(url: str) -> tuple[Any, str]:
    fs = require_fs()
    if "://" not in url:
        return fs.LocalFileSystem(), url
    try:
        made, path = fs.FileSystem.from_uri(url)
    except Exception as error:  # ArrowInvalid, OSError, NotImplementedError of a system that this pyarrow lacks
        raise InputError(f"{url} is no place that pyarrow can open: {error}") from None
    return made, path.rstrip("/")
