"""Building the compiled engine from the source tree, and its stages as functions of numpy arrays."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock
from numpy.typing import NDArray

from spladert.engine.native.description import Norm, Quantization

from .paths import ROOT

KERNELS = ROOT / "kernels"
ISAS = ("neon-dotprod", "neon") if platform.machine() == "aarch64" else ("amx", "avx512-vnni", "avx-vnni", "avx2")
MODES = {
    "native": (),
    "emulated": ("-DSPLADERT_EMULATE=ON",),
    "clang": ("-DCMAKE_CXX_COMPILER=clang++-14", "-DCMAKE_EXPORT_COMPILE_COMMANDS=ON"),
    "aarch64": (
        "-DCMAKE_SYSTEM_NAME=Linux",
        "-DCMAKE_SYSTEM_PROCESSOR=aarch64",
        "-DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++",
    ),
}
COMPILERS = {"clang": "clang++-14", "aarch64": "aarch64-linux-gnu-g++"}  # else c++


def abi() -> Any:
    """kernels/spladert_kernels/abi.py, whether or not the package is installed."""
    name = "spladert_kernels_of_the_source_tree"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, KERNELS / "spladert_kernels/abi.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


@cache
def build(mode: str, *options: str) -> Path:
    """The library built from the source tree, in kernels/build/`mode`; skips where that cannot be.

    SPLADERT_KERNELS_LIBRARY names one that is built already, for a processor that is emulated.
    """
    if "SPLADERT_KERNELS_LIBRARY" in os.environ:
        return Path(os.environ["SPLADERT_KERNELS_LIBRARY"])
    for tool in ("cmake", COMPILERS.get(mode, "c++")):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not here, which the compiled engine is built with")
    folder = KERNELS / "build" / mode
    steps = (
        ["cmake", "-S", str(KERNELS), "-B", str(folder), *MODES.get(mode, ()), *options],
        ["cmake", "--build", str(folder), "-j2"],
    )
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "lock"):  # another process of these tests may be building there
        for step in steps:
            done = subprocess.run(step, capture_output=True, text=True, check=False)
            if done.returncode and "not on" in done.stderr:
                pytest.skip(done.stderr.strip().splitlines()[-1])
            assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return folder / "libspladert_kernels.so"


class Stages:
    """The single stages of a library with one instruction set."""

    def __init__(self, mode: str, isa: str) -> None:
        self.abi = abi()
        self.path = build(mode)
        self.library = self.abi.load_library(self.path)
        self.isa = isa
        names = {self.library.spladert_isa_name(i).decode(): i for i in range(len(ISAS))}
        missing = self.library.spladert_isa_missing(names[isa])
        if missing:
            pytest.skip(f"{isa}: {missing.decode()}" + (", which its emulation needs" if mode == "emulated" else ""))

    def product(self, a: NDArray[np.uint8], weight: NDArray[np.int8]) -> NDArray[np.int32]:
        (rows, inner), columns = a.shape, weight.shape[1]
        sums = np.full((rows, columns), -1, np.int32)
        self._call("product", a, weight, rows, inner, columns, sums)
        return sums

    def float_product(self, a: NDArray[np.float32], weight: NDArray[np.float32]) -> NDArray[np.float32]:
        (rows, inner), columns = a.shape, weight.shape[1]
        out = np.full((rows, columns), np.nan, np.float32)
        self._call("float_product", a, weight, rows, inner, columns, out)
        return out

    def attention(
        self, q: NDArray[np.float32], k: NDArray[np.float32], v: NDArray[np.float32], scale: float, window: int,
        to: Quantization,
    ) -> NDArray[np.uint8]:  # fmt: skip
        out = np.zeros(q.shape, np.uint8)
        quantization = self.abi.Quantization(to.scale, to.zero_point)
        self._call("attention", q, k, v, *q.shape, window, scale, quantization, out)
        return out

    def norm(self, x: NDArray[np.float32], norm: Norm, to: Quantization) -> NDArray[np.uint8]:
        out = np.zeros(x.shape, np.uint8)
        bias = None if norm.bias is None else norm.bias.ctypes.data
        described = self.abi.Norm(norm.weight.ctypes.data, bias, norm.epsilon)
        self._call("norm_quantize", x, described, *x.shape, self.abi.Quantization(to.scale, to.zero_point), out)
        return out

    def gelu(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        out = x.copy()
        self._call("gelu", out, out.size)
        return out

    def _call(self, name: str, *arguments: Any) -> None:
        kinds = {
            "uint8": self.abi.Bytes,
            "int8": self.abi.SignedBytes,
            "int32": self.abi.Ints,
            "float32": self.abi.Floats,
        }
        error = ctypes.create_string_buffer(self.abi.ERROR_SIZE)
        given = [
            value.ctypes.data_as(kinds[value.dtype.name]) if isinstance(value, np.ndarray) else value
            for value in arguments
        ]
        assert all(not isinstance(value, np.ndarray) or value.flags.c_contiguous for value in arguments)
        failed = getattr(self.library, f"spladert_{name}")(self.isa.encode(), *given, error)
        assert not failed, error.value.decode()
