"""Whether a measurement was disturbed: other processes, the hypervisor, a container's quota, heat. Linux only."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

BUSY_SHARE, STEAL_SHARE = 0.05, 0.01  # of the cores' time, from where on figures are in doubt
LOAD_SHARE = 0.25  # running tasks a core, before the start


@dataclass(frozen=True)
class Snapshot:
    """Counters of the cores that this process may use, since the machine's start.

    Attributes:
        time: seconds of a monotonic clock.
        cores: how many.
        busy: seconds that they ran anything.
        steal: seconds that the hypervisor gave to others.
        own: seconds that this process and those it waited for ran.
        stopped: seconds that the cgroup's quota stopped its threads.
        hot: times that a core slowed down because of heat.
        load: tasks that were running or waiting, of the whole machine, averaged over a minute.
        installed: cores of the whole machine.
    """

    time: float
    cores: int
    busy: float
    steal: float
    own: float
    stopped: float
    hot: int
    load: float
    installed: int


def take_snapshot(
    proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup"), cpus: Path = Path("/sys/devices/system/cpu")
) -> Snapshot | None:
    """The counters now; None where the system does not have them."""
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    times = {number: values for number, values in _core_times(_text(proc / "stat")) if number in allowed}
    if not times:
        return None
    ticks = os.sysconf("SC_CLK_TCK")
    own = os.times()
    return Snapshot(
        time=time.monotonic(),
        cores=len(times),
        busy=sum(busy for busy, _ in times.values()) / ticks,
        steal=sum(steal for _, steal in times.values()) / ticks,
        own=own.user + own.system + own.children_user + own.children_system,
        stopped=_stopped(_text(proc / "self" / "cgroup"), cgroups),
        hot=sum(int(_text(path) or 0) for path in cpus.glob("cpu[0-9]*/thermal_throttle/core_throttle_count")),
        load=float((_text(proc / "loadavg") or "0").split()[0]),
        installed=os.cpu_count() or len(times),
    )


def busy_before(now: Snapshot | None) -> list[str]:
    """What is wrong with starting a measurement now, a sentence each."""
    if now is None or now.load <= LOAD_SHARE * now.installed:
        return []
    return [f"the machine is busy: load average {now.load:.1f} on {now.installed} cores before the start"]


def disturbances(before: Snapshot | None, after: Snapshot | None) -> list[str]:
    """What disturbed a measurement between two snapshots, a sentence each."""
    if before is None or after is None:
        return []
    available = max((after.time - before.time) * after.cores, 1e-9)
    others = (after.busy - before.busy - (after.own - before.own)) / available
    stolen = (after.steal - before.steal) / available
    stopped, hot = after.stopped - before.stopped, after.hot - before.hot
    found = []
    if others > BUSY_SHARE:
        found.append(f"other processes took {others:.0%} of the {after.cores} cores' time")
    if stolen > STEAL_SHARE:
        found.append(f"the hypervisor gave {stolen:.0%} of the {after.cores} cores' time to other machines (steal)")
    if stopped > 0:
        found.append(f"the container's CPU quota stopped threads for {stopped:.1f} s")
    if hot > 0:
        found.append(f"the CPU slowed down {hot} times because of heat")
    return found


def _core_times(stat: str) -> Iterator[tuple[int, tuple[int, int]]]:
    """(core, (ticks that it ran anything, ticks of steal)) of /proc/stat; guests' time is in user's."""
    for line in stat.splitlines():
        name, *values = line.split()
        if name.startswith("cpu") and name != "cpu" and len(values) >= 8:
            user, nice, system, _, _, irq, softirq, steal = (int(value) for value in values[:8])
            yield int(name.removeprefix("cpu")), (user + nice + system + irq + softirq, steal)


def _stopped(own: str, cgroups: Path) -> float:
    """Seconds that the process's cgroup was throttled (cpu.stat of version 2 in microseconds, of 1 in nanoseconds)."""
    for line in own.splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = cgroups / "cpu" if controllers else cgroups
        folder = root / path.lstrip("/")
        stat = _text(folder / "cpu.stat") or _text(root / "cpu.stat")  # a container may see only its own, at the root
        for name, value in (entry.split() for entry in stat.splitlines()):
            if name in ("throttled_usec", "throttled_time"):
                return int(value) / (1e6 if name == "throttled_usec" else 1e9)
    return 0.0


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
