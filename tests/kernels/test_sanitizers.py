"""The compiled engine under sanitizers, with the emulated instruction sets, so that the tiles' code is seen too."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.kernels import build

SANITIZERS = {"address": "address,undefined", "thread": "thread"}
RUNTIMES = {"address": "libasan.so", "thread": "libtsan.so"}
OPTIONS = {
    "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=0:exitcode=99",  # the interpreter's own leaks are not ours
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    "TSAN_OPTIONS": "exitcode=99",
}


@pytest.mark.parametrize("kind", SANITIZERS)
def test_no_sanitizer_has_anything_to_say(kind: str) -> None:
    if not os.environ.get("SPLADERT_SANITIZE"):
        pytest.skip("builds the engine anew and runs it slowly, for minutes: set SPLADERT_SANITIZE=1")
    # The C++ library too: without it there the sanitizer finds no exceptions to watch, as the interpreter has none.
    preload = [_library(name) for name in (RUNTIMES[kind], "libstdc++.so.6")]
    if not all(Path(name).is_absolute() for name in preload):
        pytest.skip(f"this compiler has no {RUNTIMES[kind]}")
    library = build(kind, "-DSPLADERT_EMULATE=ON", f"-DSPLADERT_SANITIZE={SANITIZERS[kind]}")
    tests = Path(__file__).parent
    environment = (
        os.environ
        | OPTIONS
        | {"LD_PRELOAD": ":".join(preload), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(tests.parent)}
    )
    # Without address space randomization: some kernels place it where a thread sanitizer of the time cannot work.
    command = ["setarch", "-R", sys.executable, str(tests / "sanitized_run.py"), str(library)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=900)
    if "failed to set personality" in done.stderr:
        command = command[2:]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr[-6000:]
    assert "done" in done.stdout
    assert "runtime error" not in done.stderr


def _library(name: str) -> str:
    """The compiler's path of a library, or the bare name where it has none."""
    command = ["c++", f"-print-file-name={name}"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
