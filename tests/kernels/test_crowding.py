"""How many threads calls take while other processes are on the cores: the decision by itself, compiled alone."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import pytest

HERE = Path(__file__).parent
SOURCES = HERE.parents[1] / "kernels" / "src"

MILLISECOND = 1_000


class Widths(Protocol):
    def __call__(self, pushed: Sequence[int], microseconds: int = MILLISECOND) -> list[int]: ...


@pytest.fixture(scope="module")
def widths(tmp_path_factory: pytest.TempPathFactory) -> Widths:
    compiler = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("no C++ compiler is here")
    program = tmp_path_factory.mktemp("crowding") / "run"
    subprocess.run([compiler, "-std=c++17", f"-I{SOURCES}", HERE / "crowding_run.cpp", "-o", program], check=True)

    def run(pushed: Sequence[int], microseconds: int = MILLISECOND) -> list[int]:
        arguments = map(str, [microseconds, *pushed])
        done = subprocess.run([program, *arguments], capture_output=True, text=True, check=True)
        return [int(width) for width in done.stdout.split()]

    return run


def test_alone_or_disturbed_once_in_a_while_all_threads_run(widths: Widths) -> None:
    assert widths([0] * 50) == [4] * 50
    assert widths([1, 0] * 50) == [4] * 100


def test_twice_in_a_row_the_pushed_threads_are_left_out(widths: Widths) -> None:
    assert widths([1] * 20) == [4, 4] + [3] * 10 + [4] + [3] * 7
    assert widths([3] * 14) == [4, 4] + [1] * 10 + [4] + [1]
    assert widths([4] * 5) == [4, 4, 1, 1, 1]


def test_looks_become_rarer_and_one_that_finds_nobody_ends_it(widths: Widths) -> None:
    found = widths([2] * 800)
    looks = [call for call, width in enumerate(found) if width == 4]
    assert [after - before for before, after in pairwise(looks)] == [1, 11, 21, 41, 81, 161, 161, 161, 161]
    gone = widths([2] * 2 + [0] * 30)
    assert gone == [4, 4] + [2] * 10 + [4] * 20


def test_long_calls_look_again_after_one(widths: Widths) -> None:
    assert widths([2] * 6 + [0] * 3, microseconds=40 * MILLISECOND) == [4, 4, 2, 4, 2, 4, 2, 4, 4]
