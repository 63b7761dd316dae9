"""This machine's CPU: the cores that a process may use, and the instruction sets, for people to read."""

from __future__ import annotations

import math
import os
from pathlib import Path

# /proc/cpuinfo's names. Instructions that add int8 products in 32 bits: VNNI and AMX on x86, dot products on ARM.
INT8_DOT_PRODUCTS = ("avx_vnni", "avx512_vnni", "amx_int8", "asimddp", "i8mm")
KNOWN = ("avx2", "avx512f", "asimd", *INT8_DOT_PRODUCTS, "avx512_bf16", "amx_bf16", "bf16")

CPUINFO = Path("/proc/cpuinfo")
CGROUPS = Path("/sys/fs/cgroup")


def instruction_sets(cpuinfo: Path = CPUINFO) -> list[str]:
    """Those of KNOWN that the CPU has; none where the system does not say."""
    lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines() if cpuinfo.exists() else []
    have = {flag for line in lines if line.startswith(("flags", "Features")) for flag in line.split(":", 1)[1].split()}
    return [flag for flag in KNOWN if flag in have]


def usable_cores(cgroups: Path = CGROUPS, own: Path = Path("/proc/self/cgroup")) -> tuple[int, int]:
    """(cores that this process may use, cores of the machine): its CPU set and its cgroup's quota count, rounded up."""
    installed = os.cpu_count() or 1
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else installed
    quota = _quota(cgroups, own)
    return (allowed if quota is None else max(min(allowed, math.ceil(quota)), 1)), installed


def _quota(cgroups: Path, own: Path) -> float | None:
    """Cores' worth of time that the process's cgroup and those above it grant, None without a limit.

    The files are those of the kernel's cgroup-v2 (cpu.max) and cgroup-v1 (cpu.cfs_quota_us, cpu.cfs_period_us).
    """
    try:
        lines = own.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    found: list[float] = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            root, read = cgroups, _quota_v2
        elif "cpu" in controllers.split(","):
            root, read = cgroups / controllers, _quota_v1
            root = root if root.exists() else cgroups / "cpu"
        else:
            continue
        folder = root / path.lstrip("/")
        while True:  # in a container, /proc may name folders that are not mounted here
            found += read(folder)
            if folder == root:
                break
            folder = folder.parent
    return min(found, default=None)


def _quota_v2(folder: Path) -> list[float]:
    return _ratio(_words(folder / "cpu.max"))


def _quota_v1(folder: Path) -> list[float]:
    return _ratio([*_words(folder / "cpu.cfs_quota_us"), *_words(folder / "cpu.cfs_period_us")])


def _ratio(words: list[str]) -> list[float]:
    if len(words) != 2 or not all(word.isdecimal() for word in words) or int(words[1]) == 0:
        return []  # "max", and -1 in version 1, mean no limit
    return [int(words[0]) / int(words[1])]


def _words(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").split()
    except OSError:
        return []
