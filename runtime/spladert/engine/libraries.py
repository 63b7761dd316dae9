"""The shared libraries that a GPU provider of ONNX Runtime links: loading them, and naming those that are not here.

ONNX Runtime itself only says which one it missed first. pip puts them into folders that no loader searches, so they
are looked for there too and loaded by their path, after which the provider finds them by their name.
"""

from __future__ import annotations

import ctypes
import mmap
import site
import struct
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..errors import DeviceError

_FOLDERS = ("nvidia/*/lib", "tensorrt_libs")  # of a site-packages
_DYNAMIC, _NEEDED = 6, 1  # SHT_DYNAMIC and DT_NEEDED of the ELF format


def load_libraries(provider_library: Path) -> list[str]:
    """Load what a provider's shared library links; returns the names of what is nowhere to be found.

    Only Linux has such a library; elsewhere the loader's own error has to do.
    """
    if sys.platform != "linux" or not provider_library.is_file():
        return []
    waiting = list(needed_libraries(provider_library))
    while True:  # one may need another that comes later
        left = [name for name in waiting if not _load(name)]
        if len(left) == len(waiting):
            return left
        waiting = left


def load_library(name: str) -> bool:
    """Load a library that a provider opens by its name when it needs it; whether it was found, True but on Linux."""
    return sys.platform != "linux" or _load(name)


def missing_error(provider: str, missing: Sequence[str], cuda: int | None) -> DeviceError:
    """What to say where libraries are missing; `cuda` is the major version of CUDA that ONNX Runtime was built for."""
    ways = list(dict.fromkeys(_how_to_get(name, cuda) for name in missing))
    return DeviceError(f"{provider} needs {', '.join(missing)}, not found here: {'; '.join(ways)}")


def _how_to_get(name: str, cuda: int | None) -> str:
    if name.startswith("libcuda.so"):
        return "libcuda comes with the NVIDIA driver"
    if name.startswith("libnv"):
        major = int(name.rsplit(".", 1)[1])
        return f"pip install 'tensorrt-cu{cuda or 12}>={major},<{major + 1}'"
    return "pip install 'onnxruntime-gpu[cuda,cudnn]'"


def needed_libraries(library: Path) -> Iterator[str]:
    """The names in the DT_NEEDED entries of a 64-bit little-endian ELF file, without the C and C++ runtimes."""
    common = ("libc.", "libm.", "libdl.", "librt.", "libpthread.", "libstdc++.", "libgcc_s.", "ld-linux")
    with library.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        sections, size, count = _section_table(content)
        for number in range(count):
            kind, offset, length, link = _section(content, sections + number * size)
            if kind != _DYNAMIC:
                continue
            _, names, _, _ = _section(content, sections + link * size)
            for at in range(offset, offset + length, 16):
                tag, value = struct.unpack_from("<qQ", content, at)
                if tag == _NEEDED:
                    end = content.find(b"\0", names + value)
                    name = content[names + value : end].decode()
                    if not name.startswith(common):
                        yield name


def _section_table(content: mmap.mmap) -> tuple[int, int, int]:
    """Offset of the section headers, size of one, their number (fields of Elf64_Ehdr)."""
    if content[:6] != b"\x7fELF\x02\x01":
        return 0, 0, 0
    (offset,) = struct.unpack_from("<Q", content, 40)
    size, count = struct.unpack_from("<HH", content, 58)
    return offset, size, count


def _section(content: mmap.mmap, at: int) -> tuple[int, int, int, int]:
    """Type, offset, size and link of the Elf64_Shdr at `at`."""
    kind, offset, size, link = struct.unpack_from("<4xI8x8xQQI", content, at)
    return kind, offset, size, link


def _load(name: str) -> bool:
    for candidate in (name, *map(str, _in_site_packages(name))):
        try:
            ctypes.CDLL(candidate, mode=ctypes.RTLD_GLOBAL)
        except OSError:
            continue
        return True
    return False


def _in_site_packages(name: str) -> Iterator[Path]:
    for root in dict.fromkeys([*site.getsitepackages(), site.getusersitepackages(), *sys.path]):
        for folder in _FOLDERS:
            yield from Path(root).glob(f"{folder}/{name}")
