"""What the figures depend on: the CPU and its instruction sets, and the versions of packages."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..engine.machine import instruction_sets, usable_cores


def describe_machine() -> dict[str, Any]:
    """The CPU, its family and model numbers (virtual machines hide the name), usable cores and memory."""
    return {
        "cpu": _cpuinfo("model name") or platform.processor() or platform.machine(),
        "family": _cpuinfo("cpu family"),
        "model": _cpuinfo("model"),
        "cores": usable_cores()[0],
        "memory_gb": round(_memory_bytes() / 1e9, 1),
        "flags": instruction_sets(),
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
    }


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Installed versions of distributions; those that are not installed are left out."""
    found = {}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def peak_memory_mb() -> float:
    """This process's largest resident set, MB (1e6 bytes).

    Linux's getrusage would count the parent's memory before exec too; VmHWM does not.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024 / 1e6
    import resource  # not on Windows

    unit = 1 if platform.system() == "Darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def _cpuinfo(field: str) -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines() if cpuinfo.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.split("\t")[0].strip() == field), "")


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
