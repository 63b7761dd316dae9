"""A Python that has onnxruntime-gpu, for tests of it on machines without a GPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def gpu_python() -> str:
    """This one, or the one that SPLADERT_GPU_PYTHON names; the test skips where there is none."""
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        return sys.executable
    if "SPLADERT_GPU_PYTHON" not in os.environ:
        pytest.skip("onnxruntime-gpu is not installed; SPLADERT_GPU_PYTHON may name a Python that has it")
    return os.environ["SPLADERT_GPU_PYTHON"]


def gpu_site_packages() -> Path:
    code = "import onnxruntime; print(onnxruntime.__file__)"
    done = subprocess.run([gpu_python(), "-c", code], capture_output=True, text=True, check=True)
    return Path(done.stdout.strip()).parent.parent
