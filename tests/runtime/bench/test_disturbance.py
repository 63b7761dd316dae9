from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from spladert.bench.disturbance import Snapshot, busy_before, disturbances, take_snapshot

QUIET = Snapshot(time=100.0, cores=2, busy=50.0, steal=1.0, own=20.0, stopped=0.0, hot=0, load=0.1, installed=2)
# Ten seconds later, of which this process ran seven and the rest of the machine half a second.
LATER = replace(QUIET, time=110.0, busy=57.5, own=27.0)


def test_a_quiet_machine_is_not_warned_of() -> None:
    assert busy_before(QUIET) == []
    assert disturbances(QUIET, LATER) == []


@pytest.mark.parametrize(
    ("changes", "warning"),
    [
        ({"busy": 60.0}, "other processes took 15% of the 2 cores' time"),
        ({"steal": 2.0}, "the hypervisor gave 5% of the 2 cores' time to other machines (steal)"),
        ({"stopped": 1.25}, "the container's CPU quota stopped threads for 1.2 s"),
        ({"hot": 3}, "the CPU slowed down 3 times because of heat"),
    ],
)
def test_each_disturbance_is_named(changes: dict[str, float], warning: str) -> None:
    assert disturbances(QUIET, replace(LATER, **changes)) == [warning]


def test_a_busy_start_is_named() -> None:
    assert busy_before(replace(QUIET, load=3.25)) == [
        "the machine is busy: load average 3.2 on 2 cores before the start"
    ]


def test_without_counters_there_is_nothing_to_say() -> None:
    assert busy_before(None) == []
    assert disturbances(None, None) == []


@pytest.fixture
def system(tmp_path: Path) -> Path:
    """/proc and /sys of a machine with the cores that this process may use, and one more."""
    if not hasattr(os, "sched_getaffinity"):
        pytest.skip("this system does not say which cores a process may use")
    mine = sorted(os.sched_getaffinity(0))
    lines = ["cpu 1 2 3 4 5 6 7 8 9 10"]
    lines += [f"cpu{number} 100 20 30 4000 500 6 7 80 90 10" for number in [*mine, max(mine) + 1]]
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/stat").write_text("\n".join([*lines, "intr 1 2 3"]) + "\n")
    (tmp_path / "proc/loadavg").write_text("1.50 0.75 0.25 1/90 1234\n")
    (tmp_path / "proc/self/cgroup").write_text("4:memory:/x\n0::/mine\n")
    (tmp_path / "groups/mine").mkdir(parents=True)
    (tmp_path / "groups/mine/cpu.stat").write_text("usage_usec 99\nnr_throttled 2\nthrottled_usec 1500000\n")
    for number in (0, 1):
        folder = tmp_path / f"cpus/cpu{number}/thermal_throttle"
        folder.mkdir(parents=True)
        (folder / "core_throttle_count").write_text("2\n")
    return tmp_path


def snapshot_of(system: Path) -> Snapshot:
    snapshot = take_snapshot(system / "proc", system / "groups", system / "cpus")
    assert snapshot is not None
    return snapshot


def test_counters_are_those_of_the_cores_that_may_be_used(system: Path) -> None:
    found, cores, ticks = snapshot_of(system), len(os.sched_getaffinity(0)), os.sysconf("SC_CLK_TCK")
    assert found.cores == cores
    assert found.busy == pytest.approx(cores * (100 + 20 + 30 + 6 + 7) / ticks)
    assert found.steal == pytest.approx(cores * 80 / ticks)
    assert found.load == 1.5
    assert found.stopped == 1.5
    assert found.hot == 4


def test_a_quota_of_the_former_cgroups(system: Path) -> None:
    (system / "proc/self/cgroup").write_text("3:cpuset:/\n2:cpu,cpuacct:/mine\n1:memory:/\n")
    (system / "groups/cpu").mkdir()  # a container's own is at the root
    (system / "groups/cpu/cpu.stat").write_text("nr_periods 9\nnr_throttled 2\nthrottled_time 2500000000\n")
    assert snapshot_of(system).stopped == 2.5


def test_a_system_without_counters(tmp_path: Path) -> None:
    assert take_snapshot(tmp_path, tmp_path, tmp_path) is None


def test_work_of_this_process_is_no_disturbance() -> None:
    before = take_snapshot()
    if before is None:
        pytest.skip("this system has no /proc/stat")
    started = os.times()
    while os.times().user - started.user < 0.3:
        pass
    after = take_snapshot()
    assert after is not None
    assert after.own - before.own >= 0.3
    assert after.busy - before.busy >= 0.25  # in ticks of 10 ms
