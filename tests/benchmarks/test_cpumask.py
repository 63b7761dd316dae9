"""The mask that holds engines to an older instruction set, where the CPU lets `cpuid` fault."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.paths import ROOT

CPUINFO = Path("/proc/cpuinfo")
FLAGS = CPUINFO.read_text(encoding="utf-8").split() if CPUINFO.is_file() else []
pytestmark = [
    pytest.mark.skipif("cpuid_fault" not in FLAGS, reason="this CPU cannot make cpuid fault (Intel's can)"),
    pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc"),
]


@pytest.fixture(scope="module")
def mask(tmp_path_factory: pytest.TempPathFactory) -> Path:
    library = tmp_path_factory.mktemp("mask") / "cpumask.so"
    source = ROOT / "benchmarks" / "cpumask.c"
    subprocess.run(["gcc", "-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o", library, source], check=True)
    return library


def masked(mask: Path, level: str, code: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"LD_PRELOAD": str(mask), "CPUMASK": level}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("level", ["avx2", "avx-vnni", "avx512-vnni"])
def test_the_engine_sees_only_what_is_left(mask: Path, level: str) -> None:
    pytest.importorskip("spladert_kernels", reason="needs the compiled engine: pip install ./kernels")
    if level != "avx2" and level.replace("-", "_") not in FLAGS:
        pytest.skip(f"this CPU has no {level}")
    done = masked(mask, level, "from spladert import SparseEncoder\nprint(SparseEncoder.load().engine.isa)")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [level]


def test_a_fault_of_another_kind_still_ends_the_process(mask: Path) -> None:
    assert masked(mask, "avx2", "import ctypes\nctypes.string_at(8)").returncode == -11


def test_another_word_is_refused(mask: Path) -> None:
    done = masked(mask, "sse9", "print('runs')")
    assert done.returncode == 2
    assert "set CPUMASK to avx2, avx-vnni or avx512-vnni" in done.stderr
    assert done.stdout == ""
