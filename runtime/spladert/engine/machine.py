"""The CPU's instruction sets, for people to read and for benchmarks: no variant depends on them."""

from __future__ import annotations

from pathlib import Path

# /proc/cpuinfo's names. Instructions that add int8 products in 32 bits: VNNI and AMX on x86, dot products on ARM.
INT8_DOT_PRODUCTS = ("avx_vnni", "avx512_vnni", "amx_int8", "asimddp", "i8mm")
KNOWN = ("avx2", "avx512f", "asimd", *INT8_DOT_PRODUCTS, "avx512_bf16", "amx_bf16", "bf16")


def instruction_sets() -> list[str]:
    """Those of KNOWN that the CPU has; none where the system does not say."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines() if cpuinfo.exists() else []
    have = {flag for line in lines if line.startswith(("flags", "Features")) for flag in line.split(":", 1)[1].split()}
    return [flag for flag in KNOWN if flag in have]
