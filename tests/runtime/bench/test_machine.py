from __future__ import annotations

import subprocess
import sys

from spladert import __version__
from spladert.bench.machine import describe_machine, versions

GROW = """
from spladert.bench.machine import peak_memory_mb
import numpy as np
before = peak_memory_mb()
array = np.ones(25_000_000)  # 200 MB, touched
del array
print(peak_memory_mb() - before)
"""


def test_the_peak_of_memory_stays_after_it_is_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", GROW], capture_output=True, text=True, check=True)
    assert 195 < float(done.stdout) < 210


def test_a_peak_is_the_process_own_and_not_its_parents() -> None:
    code = "from spladert.bench.machine import peak_memory_mb; print(peak_memory_mb())"
    parent = f"""
import subprocess, sys
big = bytearray(400_000_000)
print(subprocess.run([sys.executable, "-c", {code!r}], capture_output=True, text=True, check=True).stdout)
"""
    done = subprocess.run([sys.executable, "-c", parent], capture_output=True, text=True, check=True)
    assert 5 < float(done.stdout) < 300


def test_versions_of_what_is_installed() -> None:
    assert versions(["spladert", "no-such-package"]) == {"spladert": __version__}


def test_the_machine_is_named() -> None:
    machine = describe_machine()
    assert machine["cpu"]
    assert machine["cores"] >= 1
    assert f"Python {sys.version_info.major}.{sys.version_info.minor}" in machine["system"]
