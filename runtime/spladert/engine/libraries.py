"""The shared libraries that a GPU provider of ONNX Runtime links: loaded, and those that are not here named.

`onnxruntime.preload_dlls` loads CUDA and cuDNN from the folders that pip puts them into. It does not know TensorRT's,
and says on standard output, one by one, what it did not find; a session says at its start which one it missed first.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import mmap
import site
import struct
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..errors import DeviceError
from .session import onnxruntime_module

CUDNN = "libcudnn.so.9"
_DYNAMIC, _NEEDED = 6, 1  # SHT_DYNAMIC and DT_NEEDED of the ELF format


def check_libraries(device: str) -> None:
    """Load the libraries of a device's provider. Only on Linux; elsewhere the session's own error has to do.

    Raises:
        DeviceError: some are missing; it names them and how to get them.
    """
    if sys.platform != "linux":
        return
    ort = onnxruntime_module()
    with contextlib.redirect_stdout(io.StringIO()):
        ort.preload_dlls()
    folder = Path(ort.__file__).parent / "capi"
    names = ("cuda", "tensorrt") if device == "tensorrt" else ("cuda",)  # TensorRT leaves to CUDA what it does not take
    libraries = [folder / f"libonnxruntime_providers_{name}.so" for name in names]
    needed = [name for library in libraries if library.is_file() for name in needed_libraries(library)]
    # Newer CUDA providers do not link cuDNN but open it: without it ReduceMax fails in a batch, not at the start.
    missing = missing_libraries([*dict.fromkeys(needed), CUDNN])
    if missing:
        raise missing_error(device, missing, _cuda_major())


def missing_libraries(needed: Sequence[str]) -> list[str]:
    """Load libraries by their names, or from TensorRT's package; returns those that are nowhere to be found."""
    waiting = list(dict.fromkeys(needed))
    while True:  # one may need another that comes later
        left = [name for name in waiting if not _load(name)]
        if len(left) == len(waiting):
            return left
        waiting = left


def _load(name: str) -> bool:
    roots = dict.fromkeys([*site.getsitepackages(), site.getusersitepackages(), *sys.path])
    for candidate in (name, *(str(path) for root in roots for path in Path(root).glob(f"tensorrt_libs/{name}"))):
        with contextlib.suppress(OSError):
            ctypes.CDLL(candidate, mode=ctypes.RTLD_GLOBAL)
            return True
    return False


def missing_error(device: str, missing: Sequence[str], cuda: int | None) -> DeviceError:
    """What to say where libraries are missing; `cuda` is the major version of CUDA that ONNX Runtime was built for."""
    ways = list(dict.fromkeys(_how_to_get(name, cuda) for name in missing))
    return DeviceError(f"device {device!r} needs {', '.join(missing)}, not found here: {'; '.join(ways)}")


def _how_to_get(name: str, cuda: int | None) -> str:
    if name.startswith("libcuda.so"):
        return "libcuda comes with the NVIDIA driver"
    if name.startswith("libnv"):
        major = int(name.rsplit(".", 1)[1])
        return f"pip install 'tensorrt-cu{cuda or 12}>={major},<{major + 1}'"
    return "pip install 'onnxruntime-gpu[cuda,cudnn]'"


def _cuda_major() -> int | None:
    try:
        from onnxruntime.capi.build_and_package_info import cuda_version
    except ImportError:
        return None
    return int(str(cuda_version).split(".")[0]) if cuda_version else None


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
