"""Compressed files, by their ending: `.gz`, and `.zst` where zstandard is installed."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable
from typing import IO, Any, cast

from ..errors import DependencyError, InputError

ENDINGS = (".gz", ".zst")
READ_BYTES = 4096  # compressed bytes at a time; what they unfold to is held in memory


class DamagedError(InputError):
    """Compressed data that is cut or altered; what came before it was read."""


def require_compression(ending: str) -> None:
    """Check that files of this ending can be read and written.

    Raises:
        DependencyError: zstandard is not installed.
    """
    if ending == ".zst":
        _zstandard()


def decompressed(stored: io.BufferedIOBase, ending: str) -> IO[bytes]:
    """The content of a compressed stream; reading raises `DamagedError` where it is cut or altered."""
    return cast("IO[bytes]", io.BufferedReader(_Decompressed(stored, ending), 2**16))


def compressed(stream: IO[bytes], ending: str) -> IO[bytes]:
    """A stream that compresses into `stream`, which stays open; equal content gives equal bytes."""
    if ending == ".gz":
        return cast("IO[bytes]", gzip.GzipFile(filename="", mode="wb", fileobj=stream, mtime=0))
    return cast("IO[bytes]", _zstandard().ZstdCompressor().stream_writer(stream, closefd=False))


class _Decompressed(io.RawIOBase):
    """Both formats are a row of members (frames), each complete in itself."""

    def __init__(self, stored: io.BufferedIOBase, ending: str) -> None:
        self._stored = stored
        self._name = ending.removeprefix(".")
        self._new_member: Callable[[], Any] = (
            (lambda: zlib.decompressobj(wbits=31)) if ending == ".gz" else _zstandard().ZstdDecompressor().decompressobj
        )
        self._member: Any = None  # None between members
        self._rest = b""
        self._content = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._content:
            data = self._rest or self._stored.read1(READ_BYTES)
            self._rest = b""
            if not data:
                if self._member is not None:
                    raise DamagedError(f"the {self._name} data is cut here")
                return 0
            if self._member is None:
                data = data.lstrip(b"\0")  # padding between members, as of a tape
            if data:
                self._content = memoryview(self._unfold(data))
        size = min(len(buffer), len(self._content))
        buffer[:size] = self._content[:size]
        self._content = self._content[size:]
        return size

    def _unfold(self, data: bytes) -> bytes:
        self._member = self._member or self._new_member()
        try:
            content: bytes = self._member.decompress(data)
        except Exception as error:  # zlib.error, zstandard.ZstdError
            raise DamagedError(f"the {self._name} data is damaged here ({error})") from None
        if self._member.eof:
            self._rest = self._member.unused_data
            self._member = None
        return content


def _zstandard() -> Any:
    try:
        import zstandard
    except ImportError as error:
        raise DependencyError(f".zst needs zstandard ({error}): pip install 'spladert[zstd]'") from error
    return zstandard
