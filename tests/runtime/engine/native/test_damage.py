"""Damaged graphs and data files are refused by one clear error or run; they never take the process down."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spladert.bundle import open_bundle
from spladert.engine.native.graph import read_graph
from spladert.errors import BundleError
from support.kernels import build

TESTS = Path(__file__).parents[3]
DEFAULT = Path(open_bundle().path) / "cpu-int8.onnx"
WHOLE: dict[str, Any] = {"written": [], "cut": None}
PLACES = st.integers(0, 2**31)
SMALL = st.binary(min_size=1, max_size=4) | st.sampled_from([b"\0", b"\xff" * 4, b"\x80" * 10, b"\0" * 64])
WRITTEN = st.lists(st.tuples(PLACES, SMALL.map(bytes.hex)), max_size=3)
# 64 NaNs, infinities, and lengths that are none: what scales, norms and tables must not turn into an address
NUMBERS = st.sampled_from([b"\0\0\xc0\x7f" * 64, b"\0\0\x80\x7f" * 64, b"\xff\xff\x7f\x7f" * 64, b"\x80" * 256])
WRITTEN_DATA = st.lists(st.tuples(PLACES, (SMALL | NUMBERS).map(bytes.hex)), max_size=3)
CUT = st.none() | PLACES


class Runner:
    """`damaged_run.py`, started again after a crash so that the case can be made smaller."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.library = folder, build("native")
        self.process: subprocess.Popen[str] | None = None

    def __call__(self, graph: dict[str, Any], data: dict[str, Any]) -> str:
        if self.process is None:
            command = [sys.executable, str(Path(__file__).with_name("damaged_run.py"))]
            command += [str(self.library), str(DEFAULT), str(self.folder)]
            environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])}
            self.process = subprocess.Popen(
                command, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
        process = self.process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps({"graph": graph, "data": data}) + "\n")
        process.stdin.flush()
        answer = process.stdout.readline().strip()
        if not answer:
            self.close()
            return f"died with {process.returncode}"
        return answer

    def close(self) -> None:
        if self.process is not None:
            self.process.communicate()
            self.process = None


@pytest.fixture(scope="module")
def attempt(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., str]]:
    runner = Runner(tmp_path_factory.mktemp("damaged"))
    yield runner
    runner.close()


def test_what_is_whole_runs(attempt: Callable[..., str]) -> None:
    assert attempt(WHOLE, WHOLE) == "ran"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(written=WRITTEN, cut=CUT)
def test_a_damaged_graph_is_refused_or_runs(attempt: Callable[..., str], written: list[Any], cut: int | None) -> None:
    answer = attempt({"written": written, "cut": cut}, WHOLE)
    assert answer == "ran" or answer.startswith("refused: "), answer


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(written=WRITTEN_DATA, cut=CUT)
def test_damaged_data_is_refused_or_runs(attempt: Callable[..., str], written: list[Any], cut: int | None) -> None:
    answer = attempt(WHOLE, {"written": written, "cut": cut})
    assert answer == "ran" or answer.startswith("refused: "), answer
    if cut is not None and cut % DEFAULT.with_name("cpu-int8.onnx.data").stat().st_size < 1_000_000:
        assert "not an ONNX graph" in answer


@pytest.mark.parametrize("size", [0, 1, 4096])
def test_a_data_file_cut_short_is_named(attempt: Callable[..., str], size: int) -> None:
    assert "cpu-int8.onnx is not an ONNX graph" in attempt(WHOLE, {"written": [], "cut": size})


def test_values_out_of_order_are_refused(tmp_path: Path) -> None:
    """Else a walk along the nodes might go round for ever."""
    onnx = pytest.importorskip("onnx", reason="needs the export extra: pip install 'spladert[export]'")
    model = onnx.load(DEFAULT, load_external_data=False)
    path = tmp_path / "cpu-int8.onnx"
    (tmp_path / "cpu-int8.onnx.data").symlink_to(DEFAULT.with_name("cpu-int8.onnx.data"))
    nodes = model.graph.node
    last = nodes[-1].output[0]
    nodes[-1].output[0] = nodes[0].output[0]
    onnx.save(model, path)
    with pytest.raises(BundleError, match="is computed twice"):
        read_graph(path)
    nodes[-1].output[0] = last
    nodes[0].input[0] = last
    onnx.save(model, path)
    with pytest.raises(BundleError, match=f"{last} is read before it is computed"):
        read_graph(path)
