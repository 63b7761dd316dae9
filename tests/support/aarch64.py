"""Programs of an aarch64 Python on this machine, under qemu."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path

import pytest

from .kernels import KERNELS, build
from .paths import ROOT


def make_package(mode: str, folder: Path) -> Path:
    """A folder for PYTHONPATH that holds spladert_kernels as its wheel does, with the library of a `build`."""
    shutil.copytree(KERNELS / "spladert_kernels", folder / "spladert_kernels", ignore=shutil.ignore_patterns("*.so"))
    shutil.copy(build(mode), folder / "spladert_kernels")
    return folder


def start_emulated(cpu: str, package: Path, *arguments: str) -> subprocess.Popen[str]:
    """aarch64's Python on a CPU that qemu knows, with a package of `make_package`; the test skips where there is none.

    SPLADERT_AARCH64_ROOT names a folder that `.ci/aarch64` made.
    """
    if platform.machine() == "aarch64":
        pytest.skip("the tests of the compiled engine run on this aarch64 machine itself")
    if shutil.which("qemu-aarch64") is None:
        pytest.skip("qemu-aarch64 is not here (Debian's qemu-user)")
    if "SPLADERT_AARCH64_ROOT" not in os.environ:
        pytest.skip("no aarch64 Python: SPLADERT_AARCH64_ROOT may name a folder that .ci/aarch64 made")
    root = Path(os.environ["SPLADERT_AARCH64_ROOT"])
    environment = os.environ | {
        "PYTHONPATH": ":".join(map(str, (package, ROOT / "runtime", ROOT / "tests", root / "site"))),
        "PYTHONDONTWRITEBYTECODE": "1",
        "SPLADERT_KERNELS_LIBRARY": str(package / "spladert_kernels/libspladert_kernels.so"),
        "OPENBLAS_NUM_THREADS": "1",
    }
    environment.pop("SPLADERT_ISA", None)
    command = ["qemu-aarch64", "-cpu", cpu, "-L", str(root), str(root / "usr/bin/python3"), *arguments]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT
    )


def finish(process: subprocess.Popen[str], seconds: float = 900) -> str:
    """What a process printed; it must end well."""
    try:
        output, _ = process.communicate(timeout=seconds)
    finally:
        process.kill()
    assert process.returncode == 0, output[-6000:]
    return output
