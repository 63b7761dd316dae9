"""aarch64's library, compiled here for it and run by qemu: the CPU `max` has dot products, `cortex-a53` has none.

What qemu cannot show: speed, and the order in which a real CPU's threads see memory (the thread sanitizer looks at
that, on x86-64).
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from support.aarch64 import finish, make_package, start_emulated
from support.encoders import LENGTHS, SHAPES, assert_near_logits, rows_of
from support.paths import ROOT

CPUS = {"neon-dotprod": "max", "neon": "cortex-a53"}
HERE = Path(__file__).parent
RUNS_ON = {
    "neon-dotprod": "the compiled engine with neon-dotprod",
    "neon": "the compiled engine with neon (not neon-dotprod: the CPU has no dot products (asimddp))",
}

Arrays = dict[str, NDArray[Any]]


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_package("aarch64", tmp_path_factory.mktemp("aarch64"))


@pytest.fixture(scope="module")
def engines(package: Path) -> dict[str, Arrays]:
    """Results of `SHAPES` by instruction set; each text's are the same alone and among all, on three threads."""
    files = {isa: package / f"engine-{isa}.npz" for isa in CPUS}
    script = str(HERE / "engine_run.py")
    runs = [start_emulated(CPUS[isa], package, script, isa, str(file)) for isa, file in files.items()]
    for run in runs:
        finish(run)
    return {isa: dict(np.load(file)) for isa, file in files.items()}


@pytest.fixture(scope="module")
def encoded(package: Path) -> dict[str, tuple[str, Arrays]]:
    """What runs the package's own model, and its vectors, by the instruction set that the CPU lets `load` choose."""
    files = {isa: package / f"encode-{isa}.npz" for isa in CPUS}
    script = str(HERE / "encode_run.py")
    runs = {isa: start_emulated(CPUS[isa], package, script, str(file)) for isa, file in files.items()}
    return {isa: (finish(run), dict(np.load(files[isa]))) for isa, run in runs.items()}


def test_each_stage_is_right(package: Path) -> None:
    command = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir=tests"]
    command += ["--import-mode=importlib", "--confcutdir=tests/kernels", "tests/kernels/test_stages.py"]
    output = finish(start_emulated("max", package, *command))
    assert "skipped" not in output
    assert " passed" in output


@pytest.mark.parametrize("name", SHAPES)
def test_an_engine_gives_what_plain_arithmetic_gives(engines: dict[str, Arrays], name: str) -> None:
    rows = rows_of(LENGTHS, SHAPES[name].vocabulary)
    for arrays in engines.values():
        assert_near_logits(SHAPES[name], rows, arrays[f"{name} indices"], arrays[f"{name} values"], error=0.02)


def test_both_instruction_sets_give_the_same_bits(
    engines: dict[str, Arrays], encoded: dict[str, tuple[str, Arrays]]
) -> None:
    """Their integers are exact, and the rest is the same instructions."""
    np.testing.assert_equal(engines["neon"], engines["neon-dotprod"])
    np.testing.assert_equal(encoded["neon"][1], encoded["neon-dotprod"][1])


@pytest.mark.parametrize("isa", CPUS)
def test_the_best_that_the_cpu_has_is_chosen(encoded: dict[str, tuple[str, Arrays]], isa: str) -> None:
    assert encoded[isa][0].splitlines()[-1] == RUNS_ON[isa]


def test_the_packages_model_gives_the_ids_that_avx2_gives(
    encoded: dict[str, tuple[str, Arrays]], tmp_path: Path
) -> None:
    here = make_package("native", tmp_path)
    paths = ":".join(map(str, (here, ROOT / "runtime")))
    command = [sys.executable, str(HERE / "encode_run.py"), str(tmp_path / "x86.npz")]
    environment = os.environ | {"PYTHONPATH": paths, "SPLADERT_ISA": "avx2"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "the compiled engine with avx2" in done.stdout
    expected, found = dict(np.load(tmp_path / "x86.npz")), encoded["neon-dotprod"][1]
    # Sums of floats run in another order, which these texts show in the last places alone; where it made an activation
    # round to another integer, weights would differ by up to 1e-2.
    for name in ("indptr", "indices"):
        np.testing.assert_array_equal(found[name], expected[name])
    np.testing.assert_allclose(found["values"], expected["values"], atol=1e-5)
