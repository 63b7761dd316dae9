"""How many threads calls take while other processes are on the cores: the decision by itself, compiled alone."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SOURCES = HERE.parents[1] / "kernels" / "src"

Widths = Callable[[Sequence[int]], list[int]]


@pytest.fixture(scope="module")
def widths(tmp_path_factory: pytest.TempPathFactory) -> Widths:
    compiler = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("no C++ compiler is here")
    program = tmp_path_factory.mktemp("crowding") / "run"
    subprocess.run([compiler, "-std=c++17", f"-I{SOURCES}", HERE / "crowding_run.cpp", "-o", program], check=True)

    def run(pushed: Sequence[int]) -> list[int]:
        done = subprocess.run([program, *map(str, pushed)], capture_output=True, text=True, check=True)
        return [int(width) for width in done.stdout.split()]

    return run


def test_alone_or_disturbed_once_in_a_while_all_threads_run(widths: Widths) -> None:
    assert widths([0] * 50) == [4] * 50
    assert widths([1, 0] * 50) == [4] * 100


def test_twice_in_a_row_the_pushed_threads_are_left_out(widths: Widths) -> None:
    assert widths([1] * 20) == [4, 4] + [3] * 8 + [4] + [3] * 9
    assert widths([3] * 12) == [4, 4] + [1] * 8 + [4] + [1]
    assert widths([4] * 5) == [4, 4, 1, 1, 1]


def test_looks_become_rarer_and_one_that_finds_nobody_ends_it(widths: Widths) -> None:
    found = widths([2] * 600)
    looks = [call for call, width in enumerate(found) if width == 4]
    assert [after - before for before, after in pairwise(looks)] == [1, 9, 17, 33, 65, 129, 129, 129]
    gone = widths([2] * 2 + [0] * 30)
    assert gone == [4, 4] + [2] * 8 + [4] * 22
