"""Cores that a process may use, and the threads that are started on them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from spladert import InputError
from spladert.engine import RuntimeOptions
from spladert.engine.machine import usable_cores

HERE = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cgroup(tmp_path: Path, line: str, files: dict[str, str]) -> tuple[int, int]:
    """What `usable_cores` says in a cgroup: its line of /proc/self/cgroup, and files below /sys/fs/cgroup."""
    own = tmp_path / "self"
    own.write_text(line + "\n")
    root = tmp_path / "cgroup"
    root.mkdir()
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content + "\n")
    return usable_cores(root, own)


@pytest.mark.parametrize(
    ("line", "files", "cores"),
    [
        ("0::/", {"cpu.max": "max 100000"}, HERE),
        ("0::/", {}, HERE),
        ("0::/", {"cpu.max": "100000 100000"}, 1),
        ("0::/", {"cpu.max": "50000 100000"}, 1),  # half a core runs one thread
        ("0::/", {"cpu.max": "100001 100000"}, min(2, HERE)),
        ("0::/a/b", {"a/b/cpu.max": "max 100000", "a/cpu.max": "100000 100000"}, 1),  # a limit above counts
        ("0::/not/mounted/here", {"cpu.max": "100000 100000"}, 1),
        (
            "4:cpu,cpuacct:/a",
            {"cpu,cpuacct/a/cpu.cfs_quota_us": "100000", "cpu,cpuacct/a/cpu.cfs_period_us": "100000"},
            1,
        ),
        ("4:cpu:/", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, HERE),
        ("1:name=systemd:/", {}, HERE),
    ],
)
def test_a_quota_counts(tmp_path: Path, line: str, files: dict[str, str], cores: int) -> None:
    assert cgroup(tmp_path, line, files) == (cores, os.cpu_count())


def test_without_cgroups_the_cpu_set_counts(tmp_path: Path) -> None:
    assert usable_cores(tmp_path, tmp_path / "absent") == (HERE, os.cpu_count())


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no CPU sets on this system")
def test_a_cpu_set_counts() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert usable_cores()[0] == 1
        expected = 1 if os.cpu_count() != 1 else None
        assert RuntimeOptions().thread_count() == expected
    finally:
        os.sched_setaffinity(0, before)


def test_more_threads_than_cores_are_not_started(caplog: pytest.LogCaptureFixture) -> None:
    usable, _ = usable_cores()
    assert RuntimeOptions(threads=100_000).thread_count() == usable
    assert caplog.messages == [f"threads is 100000, and this process may use {usable} cores: running {usable}"]
    caplog.clear()
    assert RuntimeOptions(threads=1).thread_count() == 1
    assert caplog.messages == []


@pytest.mark.parametrize("threads", [0, -1, 1.5, "2"])
def test_threads_of_another_kind(threads: object) -> None:
    with pytest.raises(InputError, match="give an integer of at least 1"):
        RuntimeOptions(threads=threads)  # type: ignore[arg-type]


def test_spin_of_another_kind() -> None:
    with pytest.raises(InputError, match="spin is 'no'; give True or False"):
        RuntimeOptions(spin="no")  # type: ignore[arg-type]
