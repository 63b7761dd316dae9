"""What an import pulls in, tested in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

RUN = """
import sys
from spladert import SparseEncoder
extras = {"scipy", "pyarrow", "zstandard", "opensearchpy", "fastapi", "matplotlib", "ir_measures", "spladert_kernels"}
light = ({"torch", "transformers", "onnx", "onnxscript", "onnx_ir", "rich", "click"} | extras) & set(sys.modules)
assert not light, f"import spladert brings {light}"
vectors = SparseEncoder.load(sys.argv[1]).encode(["당뇨병 치료", "계약서"])
assert len(vectors) == 2
heavy = ({"torch", "transformers", "onnx", "onnxscript", "onnx_ir"} | extras - {"spladert_kernels"}) & set(sys.modules)
assert not heavy, f"encoding brings {heavy}"
print("ok")
"""

BLOCK = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Block())
"""


def python(code: str, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, timeout=120, check=False)


def test_the_runtime_needs_neither_torch_nor_transformers_nor_onnx(tiny_bundle: Path) -> None:
    blocked = BLOCK.format(blocked={"torch", "transformers", "onnx", "onnxscript", "onnx_ir"})
    done = python(blocked + RUN, str(tiny_bundle))
    assert done.stdout.strip() == "ok", done.stderr
    assert python(RUN, str(tiny_bundle)).stdout.strip() == "ok"


def test_without_onnxruntime_the_first_use_names_the_extra(tiny_bundle: Path) -> None:
    code = "import sys; sys.modules['onnxruntime'] = None" + RUN.replace("print", "#")
    done = python(code, str(tiny_bundle))
    assert done.returncode == 1
    assert "onnxruntime cannot be imported" in done.stderr
    assert "pip install 'spladert[cpu]'" in done.stderr


def test_two_onnxruntimes_are_named(tiny_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "onnxruntime").mkdir()
    (tmp_path / "onnxruntime" / "__init__.py").touch()
    for name in ("onnxruntime", "onnxruntime_gpu"):  # as pip records an installation
        (tmp_path / f"{name}-1.0.dist-info").mkdir()
    done = python(f"import sys; sys.path.insert(0, {str(tmp_path)!r})" + RUN, str(tiny_bundle))
    assert "DependencyError: onnxruntime and onnxruntime-gpu are both installed and overwrite each other: pip" in (
        done.stderr
    )


def test_the_compiled_engine_imports_no_onnxruntime() -> None:
    pytest.importorskip("spladert_kernels", reason="the compiled engine is not installed")
    code = """
import sys
from spladert import SparseEncoder
encoder = SparseEncoder.load()
encoder.encode("당뇨병 치료")
print(encoder.providers, "onnxruntime" in sys.modules)
"""
    done = python(code)
    if "CPUExecutionProvider" in done.stdout:
        pytest.skip("the compiled engine does not run on this CPU")
    assert done.stdout.split() == ["()", "False"], done.stderr


def test_without_torch_export_names_the_extra() -> None:
    code = """
import importlib.util, sys
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name == "torch" else real(name, package)
import spladert_export
"""
    done = python(code)
    assert done.returncode == 1
    assert "exporting needs torch" in done.stderr
    assert "pip install 'spladert[cpu,export]'" in done.stderr
